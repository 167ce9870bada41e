// What the person sees: everything is drawn from `state`, which the server sends.
const MEANING = {
  AUTO: "the policy drives", HUMAN: "you drive", HOLD: "robot holds still", LOST: "input lost, robot holds", ESTOP: "stopped", JUDGED: "U takes it back", READY: "waiting for you", SETUP: "the scene is laid", OFFLINE: "no connection",
};
const COLOURS = ["#31566b", "var(--arm)", "var(--hand)", "var(--both)"];
const NAMES = ["thumb", "index", "middle", "ring", "little"];
let said = "", saidUntil = 0, frameRate = 0;
function note(text) { said = text; saidUntil = performance.now() + 6000; }
setInterval(() => { frameRate = frames / 2; frames = 0; }, 2000);

NAMES.forEach((name, index) => {
  const label = document.createElement("label");
  label.innerHTML = `<div class="bar"><i></i><u></u><em></em><input type="range" min="0" max="1" step="0.01" aria-label="${name}"></div>${name}`;
  label.querySelector("input").addEventListener("input", (event) => sendFinger(index, Number(event.target.value)));
  $("fingers").append(label);
});

onFrame = () => {
  const mode = state.mode;
  document.body.dataset.mode = mode;
  document.body.classList.toggle("watcher", state.role === "watcher" && mode !== "OFFLINE");
  text("mode", mode); text("meaning", meaning(mode));
  text("instruction", state.instruction || "");
  if (replaying && !mayReplay()) endReplay();
  if (!state.episode) return;
  const e = state.episode, left = Math.max(0, state.limit_s - state.t_s);
  text("episode", `episode ${e.number}${e.wanted ? ` of ${e.wanted}` : ""} · ${e.env_id || ""} · policy ${shortened(e.policy || "")}${state.demonstration ? " · you demonstrate" : ""}`);
  text("left", state.limit_s ? `${left.toFixed(1)} s` : `${state.t_s.toFixed(1)} s`);
  $("clock").classList.toggle("short", left < 5);
  $("pause").classList.toggle("on", state.paused);
  wish.paused = state.paused;
  $("step").hidden = !(state.paused && state.steps);
  $("replay").disabled = !mayReplay() && !replaying;
  showCard(mode); showSecond(mode); showStrip(); showHand(); showMarks(); showTags(); showFoot();
};
function meaning(mode) {
  if (mode === "HUMAN") return `you drive ${state.driven[0] && state.driven[1] ? "arm and hand" : state.driven[0] ? "the arm" : "the hand"}`;
  if (mode === "HOLD" && state.paused) return "paused";
  if (mode === "JUDGED" && state.verdict === "none") return "say how it ended";
  if (mode === "HOLD" && state.demonstration) return "hold Space to move it";
  if (state.role === "watcher" && mode !== "OFFLINE") return `${MEANING[mode]} · you watch`;
  return MEANING[mode] || "";
}
function text(id, value) { const node = $(id); if (node.textContent !== value) node.textContent = value; }
const shortened = (name) => (name.length > 34 ? `…${name.slice(-33)}` : name);

let cardShown = false;
function showCard(mode) {
  const ready = mode === "READY";
  if (ready !== cardShown) {
    cardShown = ready; $("card").hidden = !ready;
    if (!ready) { document.querySelectorAll("#tags .on").forEach((b) => b.classList.remove("on")); }
    if (ready) letGo(false);
  }
  if (!ready) return;
  $("card").classList.toggle("small", state.last !== "");
  text("card-title", state.last ? { success: "Success ✓", failure: "Failure ✗", discarded: "Discarded", stopped: "Stopped, what was recorded is kept", redo: "Once more" }[state.last] : "Ready");
  text("card-text", state.demonstration ? "You demonstrate: the robot moves only while you hold Space." : state.last ? "The next scene is laid." : "This is what you do:");
}
const ENDED = { success: "Success ✓", failure: "Failure ✗", none: "Taken back" };
function showSecond(mode) {
  $("second").hidden = mode !== "JUDGED";
  if (mode !== "JUDGED") return;
  const open = state.verdict === "none";
  text("second-title", ENDED[state.verdict] || "");
  text("second-text", open ? "How did it end?" : `kept in ${Math.ceil(state.verdict_left_s)} s`);
  $("undo").hidden = $("keep").hidden = open;
  $("second-keys").hidden = !open;
}
function showStrip() {
  const strip = $("strip"), total = Math.max(state.limit_s * 20, 1);
  let at = 0, html = "";
  for (const [code, length] of state.strip) { html += `<span style="left:${100 * at / total}%;width:${100 * length / total}%;background:${COLOURS[code]}"></span>`; at += length; }
  strip.innerHTML = `<i id="now" style="left:${100 * at / total}%"></i>${html}`;
  text("count", `${state.interventions} takeover${state.interventions === 1 ? "" : "s"}, ${state.human_s.toFixed(1)} s yours`);
  text("ghost", `target ${state.ghost.mm.toFixed(0)} mm, ${state.ghost.deg.toFixed(0)}° ahead`);
}
function showHand() {
  if (followRobot()) {
    hand.fingers = [...state.wanted]; hand.value = state.synergy[hand.grasp];
    if (document.activeElement !== $("synergy")) $("synergy").value = hand.value;
  }
  $("grasp").firstChild.textContent = hand.value > 0.5 ? "open" : "close";
  document.querySelectorAll("#fingers label").forEach((label, i) => {
    label.querySelector("i").style.height = `${100 * state.closed[i]}%`;
    label.querySelector("u").style.bottom = `calc(${98 * state.wanted[i]}%)`;
    label.querySelector("em").style.opacity = state.force[i] > 0.3 ? 1 : 0;
    const input = label.querySelector("input");
    if (document.activeElement !== input) input.value = hand.fingers[i];
  });
  text("speed-value", `${Math.round(100 * factor())} %`);
}
function showMarks() {
  const svg = document.querySelector("#front svg"), canvas = document.querySelector("#front canvas"), box = $("front");
  if (!state.marks || !canvas.width || replaying) { svg.innerHTML = ""; return; }
  const scale = Math.min(box.clientWidth / canvas.width, box.clientHeight / canvas.height), w = canvas.width * scale, h = canvas.height * scale;
  Object.assign(svg.style, { left: `${(box.clientWidth - w) / 2}px`, top: `${(box.clientHeight - h) / 2}px`, width: `${w}px`, height: `${h}px` });
  svg.setAttribute("viewBox", `0 0 ${w} ${h}`);
  const [[tx, ty], [ax, ay]] = state.marks.map(([x, y]) => [x * w, y * h]);
  svg.innerHTML = `<line x1="${ax}" y1="${ay}" x2="${tx}" y2="${ty}" stroke="#fff" stroke-opacity=".7"/><circle cx="${ax}" cy="${ay}" r="4" fill="#fff" fill-opacity=".85"/>` +
    `<circle cx="${tx}" cy="${ty}" r="9" fill="none" stroke="var(--mode)" stroke-width="2.5"/>`;
}
function showTags() {
  const box = $("tags");
  if (box.childElementCount === state.tags.length) return;
  box.replaceChildren(...state.tags.map((name) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", () => { button.classList.add("on"); say({ type: "tag", text: name }); button.blur(); });
    return button;
  }));
}
function showFoot() {
  const t = state.tally, total = t.success + t.failure;
  $("tally").innerHTML = `<b>${t.success}</b> of <b>${total}</b> succeeded${t.discarded ? `, ${t.discarded} discarded` : ""}`;
  const age = Math.max(0, performance.timeOrigin + performance.now() - 1000 * state.sent_s);
  for (const name of state.cameras) { const span = document.querySelector(`#${name} figcaption span`); if (span) span.textContent = `${frameRate.toFixed(0)} Hz, ${age.toFixed(0)} ms`; }
  const devices = Object.entries(state.devices || {}).filter(([, d]) => d.age_ms < 2000 && d.hz > 0).map(([name, d]) => `${name} ${d.hz.toFixed(0)} Hz`).slice(0, 4).join(" · ");
  $("health").textContent = `${state.role}${state.watchers ? `, ${state.watchers} watching` : ""} · ${devices || "no input yet"}${state.unused ? ` · ${state.unused} readings are not this hand` : ""}`;
  $("pad-on").classList.toggle("on", padName !== ""); $("pad-on").textContent = padName || "gamepad";
  $("cap-on").hidden = !navigator.hid; $("cap-on").classList.toggle("on", cap.device !== null);
  $("xr-on").hidden = !navigator.xr; $("xr-on").classList.toggle("on", xrSession !== null);
  $("cam-on").hidden = !state.abilities.webcam_cube; $("cam-on").classList.toggle("on", camera !== null);
  $("log").classList.toggle("calm", !state.refused && performance.now() >= saidUntil);
  text("log", performance.now() < saidUntil ? said : state.refused ? `${state.refused} refused: ${state.log.at(-1) || ""}` : state.where ? `recording to ${state.where}` : "");
}
setInterval(() => { if (state.mode !== "OFFLINE" && performance.now() - lastFrame > 1500) { text("meaning", "pictures have stopped"); } }, 500);
connect();
