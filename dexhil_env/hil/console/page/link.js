// The connection: one websocket; frames in, small messages out. Everything that the page knows stands in `state`.
const state = { mode: "OFFLINE", role: "watcher", driven: [false, false], abilities: {} };
const bitmaps = {};
let socket = null, lastFrame = 0, frames = 0, onFrame = () => {};

function say(message) {
  if (socket && socket.readyState === 1 && socket.bufferedAmount < 65536) socket.send(JSON.stringify(message));
}

function connect() {
  const token = new URLSearchParams(location.search).get("token");
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws?token=${encodeURIComponent(token)}`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send('{"type":"claim"}');
  socket.onclose = () => { state.mode = "OFFLINE"; state.driven = [false, false]; letGo(false); onFrame(); setTimeout(connect, 700); };
  socket.onmessage = async (event) => {
    const size = new DataView(event.data).getUint32(0, true);
    Object.assign(state, { marks: null }, JSON.parse(new TextDecoder().decode(new Uint8Array(event.data, 4, size))));
    lastFrame = performance.now(); frames += 1;
    let at = 4 + size;
    const kept = [];
    for (let i = 0; i < state.pictures.length; i++) {
      const bytes = new Uint8Array(event.data, at, state.pictures[i]);
      at += state.pictures[i];
      const name = state.cameras[i];
      kept.push([name, bytes]);
      createImageBitmap(new Blob([bytes], { type: "image/jpeg" })).then((picture) => { bitmaps[name]?.close(); bitmaps[name] = picture; draw(name); });
    }
    keepFrame(kept);
    onFrame();
  };
}

function draw(name) { if (!replaying && bitmaps[name]) paint(name, bitmaps[name]); }
function paint(name, picture) {
  const canvas = document.querySelector(`#${name} canvas`);
  if (!canvas) return;
  if (canvas.width !== picture.width) { canvas.width = picture.width; canvas.height = picture.height; }
  canvas.getContext("2d").drawImage(picture, 0, 0);
}

const isDriving = () => state.driven[0] || state.driven[1];
// The robot holds when this stops. A hidden tab's timers are slowed down by the browser, which has the same effect.
setInterval(() => say({ type: "heartbeat" }), 80);
