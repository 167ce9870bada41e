// Keys, mouse, touch and buttons -> messages. What is pressed is kept in one place and sent 30 times a second.
const $ = (id) => document.getElementById(id);
const wish = { limbs: "both", held: new Set(), latched: false, clutch: false, paused: false, engaged: false };
const pressed = new Set(), pads = new Set();
const hand = { grasp: "power", value: 0, fingers: [0, 0, 0, 0, 0], touched: 0 };
const extra = { linear: [0, 0, 0], angular: [0, 0, 0] };  // from a gamepad, -1 to 1
const owed = [0, 0, 0];                                   // metres that a drag or the wheel still has to say
const SPEED = 0.16, TURN = 0.9, FIELD_M = 0.85;           // full speed [m/s, rad/s]; height of the front picture at the table [m]
const AXES = { ArrowRight: 0, ArrowLeft: -1, ArrowUp: 1, ArrowDown: -2, KeyR: 2, PageUp: 2, KeyF: -3, PageDown: -3,
  KeyW: -4, KeyS: 3, KeyQ: -5, KeyE: 4, KeyA: 5, KeyD: -6 };  // axis, or -1 - axis for the other way

const factor = () => Number($("speed").value) * (pressed.has("ShiftLeft") || pressed.has("ShiftRight") ? 0.3 : 1);
const limbs = () => ({ arm: wish.limbs !== "hand", hand: wish.limbs !== "arm" });

function engage() {
  endReplay();
  const on = wish.latched || wish.held.size > 0;
  if (on === wish.engaged && on === false) return;
  wish.engaged = on;
  const which = limbs();
  say({ type: "engage", arm: on && which.arm, hand: on && which.hand });
  $("hold").classList.toggle("down", on);
  $("latch").classList.toggle("on", wish.latched);
}
function hold(source, down) { down ? wish.held.add(source) : wish.held.delete(source); if (!down) wish.latched = wish.latched && source !== "key"; engage(); }
function latch() { wish.latched = !wish.latched; engage(); }
function chooseLimbs(name) {
  wish.limbs = name;
  document.querySelectorAll("#limbs button").forEach((b) => b.classList.toggle("on", b.dataset.limbs === name));
  if (wish.engaged) engage();
}
function clutch(on) { if (on !== wish.clutch) { wish.clutch = on; $("clutch").classList.toggle("on", on); say({ type: "clutch", arm: on, hand: on }); } }
function pause() { wish.paused = !wish.paused; say({ type: "pause", on: wish.paused }); }
function judge(value) {
  if (state.mode === "READY") { if (value === "success") say({ type: "start" }); return; }
  if (state.mode === "JUDGED" && state.verdict === value) { keep(); return; }
  say({ type: "verdict", value });
}
function undo() { if (state.mode === "JUDGED") say({ type: "undo" }); }
function keep() { say({ type: "start" }); }
function step() { if (wish.paused && state.steps) say({ type: "step" }); }
function stop() { say({ type: "estop" }); letGo(false); }
// The focus is gone: whoever held a key does not hold it any more, so the robot stays where it is.
function letGo(tell = true) {
  const drove = wish.engaged;
  pressed.clear(); pads.clear(); wish.held.clear(); wish.latched = false; wish.engaged = false;
  $("hold").classList.remove("down"); $("latch").classList.remove("on");
  if (drove && tell) say({ type: "hold" });
}
addEventListener("blur", () => letGo());
addEventListener("pagehide", () => letGo());
document.addEventListener("visibilitychange", () => { if (document.hidden) letGo(); });

// ---- hand
function sendGrasp(value) { hand.value = value; hand.touched = performance.now(); $("synergy").value = value; say({ type: "synergy", value, grasp: hand.grasp }); }
function chooseGrasp(name) {
  if (name === "open") { sendGrasp(0); return; }
  hand.grasp = name;
  document.querySelectorAll("#grasps button").forEach((b) => b.classList.toggle("on", b.dataset.grasp === name));
  if (isDriving() && hand.value > 0.02) sendGrasp(hand.value); else hand.value = state.synergy ? state.synergy[name] : 0;
}
function sendFinger(index, value) {
  hand.fingers[index] = Math.min(1, Math.max(0, value)); hand.touched = performance.now();
  say({ type: "fingers", values: hand.fingers });
}
const followRobot = () => !isDriving() || performance.now() - hand.touched > 1500;
const NEXT = { power: "tripod", tripod: "pinch", pinch: "power" };

// ---- keys
const DOWN = {
  Space: () => hold("key", true), KeyT: latch, KeyB: () => chooseLimbs({ both: "arm", arm: "hand", hand: "both" }[wish.limbs]),
  KeyC: () => clutch(true), KeyP: pause, KeyG: () => sendGrasp(hand.value > 0.5 ? 0 : 1), KeyV: () => chooseGrasp(NEXT[hand.grasp]),
  Enter: () => judge("success"), Backspace: () => judge("failure"), Home: () => judge("redo"), Delete: () => judge("discard"),
  KeyU: undo, KeyL: toggleReplay, Period: step,
};
addEventListener("keydown", (event) => {
  if (event.key === "Escape") { event.preventDefault(); if ($("keys").open) $("keys").close(); stop(); return; }
  if (event.target === $("note") || event.ctrlKey || event.metaKey) return;
  if (event.key === "?") { $("keys").open ? $("keys").close() : $("keys").showModal(); return; }
  if (event.code in AXES || event.code in DOWN || event.code.startsWith("Digit")) event.preventDefault();
  if (event.repeat) return;
  pressed.add(event.code);
  if (DOWN[event.code]) DOWN[event.code]();
  const digit = /^Digit([1-5])$/.exec(event.code);
  if (digit) sendFinger(digit[1] - 1, event.shiftKey ? 0 : 1);
});
addEventListener("keyup", (event) => {
  if (event.code === "Space" && event.target !== $("note")) event.preventDefault();  // or it would click a button that has the focus
  pressed.delete(event.code);
  if (event.code === "Space") hold("key", false);
  if (event.code === "KeyC") clutch(false);
});

// ---- buttons; pointer events, so that one finger can hold while another drags
function whileDown(element, down, up) {
  element.addEventListener("pointerdown", (event) => { event.preventDefault(); element.setPointerCapture(event.pointerId); element.classList.add("down"); down(); });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) element.addEventListener(end, () => { element.classList.remove("down"); up(); });
  element.addEventListener("keydown", (event) => { if (event.code === "Space" || event.code === "Enter") event.preventDefault(); });
}
whileDown($("hold"), () => hold("button", true), () => hold("button", false));
whileDown($("clutch"), () => clutch(true), () => clutch(false));
document.querySelectorAll("[data-jog]").forEach((button) => {
  const code = button.dataset.jog, axis = Math.abs(Number(code)), sign = code.startsWith("-") ? -1 : 1;
  whileDown(button, () => pads.add([axis, sign].join()), () => pads.delete([axis, sign].join()));
});
const CLICKS = { latch, pause, step, undo, keep, start: () => judge("success"), success: () => judge("success"), failure: () => judge("failure"), redo: () => judge("redo"),
  discard: () => judge("discard"), estop: stop, help: () => $("keys").showModal(), grasp: () => sendGrasp(hand.value > 0.5 ? 0 : 1), quit: () => say({ type: "quit" }) };
for (const [id, act] of Object.entries(CLICKS)) $(id).addEventListener("click", (event) => { act(); event.currentTarget.blur(); });
for (const [id, key, choose] of [["limbs", "limbs", chooseLimbs], ["grasps", "grasp", chooseGrasp]]) {
  $(id).addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) { choose(button.dataset[key]); button.blur(); } });
}
$("synergy").addEventListener("input", (event) => sendGrasp(Number(event.target.value)));
$("note").addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "Escape") stop();
  if (event.key === "Enter" && event.target.value) { say({ type: "note", text: event.target.value }); event.target.value = ""; event.target.blur(); }
});
document.querySelectorAll("input[type=range]").forEach((slider) => slider.addEventListener("change", () => slider.blur()));

// ---- dragging in the front picture moves the palm over the table, the wheel lifts it
let drag = null;
$("front").addEventListener("pointerdown", (event) => { drag = [event.clientX, event.clientY]; $("front").setPointerCapture(event.pointerId); });
$("front").addEventListener("pointermove", (event) => {
  if (!drag) return;
  const metres = FIELD_M / $("front").clientHeight * factor() / 0.8;
  owed[0] += (event.clientX - drag[0]) * metres; owed[1] -= (event.clientY - drag[1]) * metres;
  drag = [event.clientX, event.clientY];
});
for (const end of ["pointerup", "pointercancel"]) $("front").addEventListener(end, () => { drag = null; });
$("front").addEventListener("wheel", (event) => { event.preventDefault(); owed[2] -= Math.sign(event.deltaY) * 0.008 * factor(); }, { passive: false });

// ---- 30 times a second
let jogged = false;
setInterval(() => {
  readGamepad();
  const speed = [0, 0, 0, 0, 0, 0];
  for (const code of pressed) if (code in AXES) { const a = AXES[code]; a >= 0 ? speed[a] += 1 : speed[-1 - a] -= 1; }
  for (const pad of pads) { const [axis, sign] = pad.split(",").map(Number); speed[axis] += sign; }
  for (let i = 0; i < 3; i++) { speed[i] += extra.linear[i] + capSays("linear", i); speed[3 + i] += extra.angular[i] + capSays("angular", i); }
  const moving = speed.some((v) => Math.abs(v) > 0.01), f = factor();
  if (isDriving() && (moving || jogged)) say({ type: "jog", linear: speed.slice(0, 3).map((v) => clip(v) * SPEED * f), angular: speed.slice(3).map((v) => clip(v) * TURN * f) });
  jogged = moving;
  if (owed.some((v) => v !== 0)) {
    if (isDriving()) say({ type: "nudge", linear: owed.map((v) => Math.max(-0.1, Math.min(0.1, v))), angular: [0, 0, 0] });
    owed.fill(0);
  }
}, 33);
const clip = (v) => Math.max(-1, Math.min(1, v));
