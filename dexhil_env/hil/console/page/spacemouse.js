// SpaceMouse over WebHID: pushing and turning the cap moves the palm, the left button drives while it is held, the right one grasps.
// Report 1 is three or six signed 16 bit numbers (push, then turn), report 2 the turn of older devices, report 3 the buttons.
const FULL = 350, DEAD = 0.08, CAP_S = 0.3;               // full deflection; share that is rest; a cap that says nothing for so long is at rest
const MAKERS = [{ vendorId: 0x256f }, { vendorId: 0x046d, usagePage: 1, usage: 8 }];
const cap = { linear: [0, 0, 0], angular: [0, 0, 0], heard: -1e9, device: null };

async function toggleSpaceMouse() {
  if (cap.device) { const device = cap.device; forgetSpaceMouse(); await device.close(); return; }
  try {
    const [device] = await navigator.hid.requestDevice({ filters: MAKERS });
    if (!device) return;
    if (!device.opened) await device.open();
    device.addEventListener("inputreport", readCap);
    cap.device = device;
  } catch (error) { note(`SpaceMouse: ${error.message}`); }
}
function forgetSpaceMouse() {
  cap.device?.removeEventListener("inputreport", readCap);
  cap.device = null; cap.linear.fill(0); cap.angular.fill(0);
  edge("cap-drive", false, () => {}, () => hold("cap", false));
}
function loseSpaceMouse() {  // unplugged is not let go: the robot stays where it is
  if (was["cap-drive"]) letGo();
  was["cap-drive"] = false;
  forgetSpaceMouse();
}
function readCap({ reportId, data }) {
  cap.heard = performance.now();
  // the device: x right, y towards the person, z down; the view: right, away, up
  const three = (at) => [1, -1, -1].map((sign, i) => { const v = sign * data.getInt16(at + 2 * i, true) / FULL; return Math.abs(v) < DEAD ? 0 : clip(v); });
  if (reportId === 1 && data.byteLength >= 6) cap.linear = three(0);
  if (reportId === 1 && data.byteLength >= 12) cap.angular = three(6);
  if (reportId === 2 && data.byteLength >= 6) cap.angular = three(0);
  if (reportId === 3) {
    const buttons = data.getUint8(0);
    edge("cap-drive", (buttons & 1) > 0, () => hold("cap", true), () => hold("cap", false));
    edge("cap-grasp", (buttons & 2) > 0, () => sendGrasp(hand.value > 0.5 ? 0 : 1));
  }
}
const capSays = (kind, i) => (performance.now() - cap.heard < 1000 * CAP_S ? cap[kind][i] : 0);
navigator.hid?.addEventListener("disconnect", (event) => { if (event.device === cap.device) loseSpaceMouse(); });
$("cap-on").addEventListener("click", toggleSpaceMouse);
