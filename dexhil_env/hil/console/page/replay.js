// The last seconds once more, from pictures that this window has seen. Time is the episode's, so that a pause is not part of the film.
const FILM_S = 5;
let film = [], replaying = null;

function keepFrame(pictures) {
  const t = state.t_s, last = film.at(-1);
  if (t === undefined || (last && t === last.t)) return;
  if (last && t < last.t) { if (t === 0) return; film = []; }  // the next scene is laid: the last episode can still be looked at
  film.push({ t, pictures });
  while (film[0].t < t - FILM_S) film.shift();
}
const mayReplay = () => film.length > 1 && !["HUMAN", "LOST", "ESTOP", "OFFLINE"].includes(state.mode);
function toggleReplay() {
  if (replaying) { endReplay(); return; }
  if (!mayReplay()) return;
  replaying = { frames: film.slice(), begun: performance.now(), shown: -1 };
  document.body.classList.add("replaying");
  requestAnimationFrame(playFrame);
}
function playFrame() {
  if (!replaying) return;
  const { frames, begun } = replaying, last = frames.at(-1).t, t = frames[0].t + (performance.now() - begun) / 1000;
  if (t > last + 0.3) { endReplay(); return; }
  const index = frames.findLastIndex((frame) => frame.t <= t);
  if (index !== replaying.shown) {
    replaying.shown = index;
    for (const [name, bytes] of frames[index].pictures) {
      createImageBitmap(new Blob([bytes], { type: "image/jpeg" })).then((picture) => { if (replaying) paint(name, picture); picture.close(); });
    }
  }
  text("replay-time", `REPLAY −${Math.max(0, last - t).toFixed(1)} s`);
  requestAnimationFrame(playFrame);
}
function endReplay() {
  if (!replaying) return;
  replaying = null;
  document.body.classList.remove("replaying");
  Object.keys(bitmaps).forEach(draw);
}
$("replay").addEventListener("click", (event) => { toggleReplay(); event.currentTarget.blur(); });
