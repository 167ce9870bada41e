// Devices that are plugged into the person's own computer: gamepad, headset, webcam.
const was = {};
let padName = "";
function readGamepad() {
  const pad = [...(navigator.getGamepads ? navigator.getGamepads() : [])].find((each) => each && each.connected);
  padName = pad ? pad.id.slice(0, 24) : "";
  if (!pad) { extra.linear.fill(0); extra.angular.fill(0); return; }
  const axis = (i) => { const v = pad.axes[i] || 0; return Math.abs(v) < 0.12 ? 0 : v; };
  const button = (i) => (pad.buttons[i] ? pad.buttons[i].value : 0);
  extra.linear[0] = axis(0); extra.linear[1] = -axis(1); extra.linear[2] = -axis(3); extra.angular[2] = -axis(2);
  edge("rb", button(5) > 0.5, () => hold("pad", true), () => hold("pad", false));
  edge("b", button(1) > 0.5, () => clutch(true), () => clutch(false));
  edge("y", button(3) > 0.5, () => judge("success"));
  edge("a", button(0) > 0.5, () => judge("failure"));
  edge("x", button(2) > 0.5, () => judge("redo"));
  edge("back", button(8) > 0.5, stop);
  const closing = button(7) - button(6);
  if (Math.abs(closing) > 0.05 && isDriving()) sendGrasp(Math.min(1, Math.max(0, hand.value + 0.05 * closing)));
}
function edge(name, on, down, up = () => {}) { if (on && !was[name]) down(); if (!on && was[name]) up(); was[name] = on; }

// ---- headset: the wrist moves the palm, the fingers move the fingers
const JOINTS = ["wrist", "thumb-metacarpal", "thumb-phalanx-proximal", "thumb-phalanx-distal", "thumb-tip",
  ...["index", "middle", "ring", "pinky"].flatMap((f) => ["phalanx-proximal", "phalanx-intermediate", "phalanx-distal", "tip"].map((j) => `${f}-finger-${j}`))];
let xrSession = null, xrFrames = 0;
async function toggleHeadset() {
  if (xrSession) { await xrSession.end(); return; }
  try {
    // with passthrough, so that the person sees the screen or the robot; else in the dark
    const kind = await navigator.xr.isSessionSupported("immersive-ar").catch(() => false) ? "immersive-ar" : "immersive-vr";
    xrSession = await navigator.xr.requestSession(kind, { optionalFeatures: ["hand-tracking", "local-floor"] });
  } catch (error) { note(`headset: ${error.message}`); return; }
  const canvas = document.createElement("canvas"), gl = canvas.getContext("webgl", { xrCompatible: true });
  if (gl && window.XRWebGLLayer) { try { xrSession.updateRenderState({ baseLayer: new XRWebGLLayer(xrSession, gl) }); } catch { /* an emulator without a screen */ } }
  const space = await xrSession.requestReferenceSpace("local-floor").catch(() => xrSession.requestReferenceSpace("local"));
  xrSession.addEventListener("end", () => { xrSession = null; hold("pinch", false); });
  const loop = (time, frame) => { if (xrSession) { xrSession.requestAnimationFrame(loop); readHands(frame, space); } };
  xrSession.requestAnimationFrame(loop);
}
function readHands(frame, space) {
  for (const source of frame.session.inputSources) {
    if (!source.hand) continue;
    const poses = JOINTS.map((name) => frame.getJointPose(source.hand.get(name), space));
    if (poses.some((pose) => !pose)) continue;
    const points = poses.map((pose) => [pose.transform.position.x, pose.transform.position.y, pose.transform.position.z]);
    if (source.handedness === "left") { edge("pinch", apart(points[4], points[8]) < 0.02, () => hold("pinch", true), () => hold("pinch", false)); continue; }
    xrFrames += 1;
    const q = poses[0].transform.orientation, wrist = points[0];
    say({ type: "wrist", pose: [...wrist, q.w, q.x, q.y, q.z] });
    if (state.abilities.hand_tracking) say({ type: "keypoints", points: points.map((p) => p.map((v, i) => v - wrist[i])) });
    else if (isDriving()) sendGrasp(Math.min(1, Math.max(0, (0.1 - apart(points[4], points[8])) / 0.08)));
  }
}
const apart = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);

// ---- webcam: pictures go to the server, which finds the cube
let camera = null, cameraFrames = 0;
async function toggleWebcam() {
  if (camera) { camera.getTracks().forEach((track) => track.stop()); camera = null; return; }
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, frameRate: 30 } });
  } catch (error) { note(`webcam: ${error.message}`); return; }
  const video = document.createElement("video"), canvas = document.createElement("canvas");
  video.muted = true; video.srcObject = camera; await video.play();
  canvas.width = video.videoWidth; canvas.height = video.videoHeight;
  const send = () => {
    if (!camera) return;
    canvas.getContext("2d").drawImage(video, 0, 0);
    canvas.toBlob(async (blob) => {
      if (blob && socket.readyState === 1 && socket.bufferedAmount < 65536) { socket.send(await blob.arrayBuffer()); cameraFrames += 1; }
      setTimeout(send, 5);
    }, "image/jpeg", 0.85);
  };
  let last = -1;
  const tick = () => { if (video.currentTime !== last) { last = video.currentTime; send(); } else if (camera) setTimeout(tick, 5); };
  send();
}
$("xr-on").addEventListener("click", toggleHeadset);
$("cam-on").addEventListener("click", toggleWebcam);
