/** Tips: shown where the pointer rests or the focus is, put away with Esc, kept on the screen. */

const GAP = 6; // pixels between what is explained and its tip
const MARGIN = 8; // pixels to the edge of the window

/** @type {HTMLElement | null} */
let open = null;

/** Elements with data-tip, the id of their tip, now and later. */
export function watchTips() {
  addEventListener("pointerover", (event) => showFor(event.target));
  addEventListener("focusin", (event) => showFor(event.target));
  addEventListener("focusout", () => close());
  addEventListener("scroll", () => close(), { passive: true, capture: true });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !open || document.querySelector("dialog[open]")) return;
    close();
    event.preventDefault(); // the first Esc is for the tip
  });
}

/** @param {EventTarget | null} target */
function showFor(target) {
  if (!(target instanceof Element)) return;
  if (target.closest("[role=tooltip]") === open && open) return; // the pointer may go onto the tip
  const anchor = target.closest("[data-tip]");
  const tip = anchor && document.getElementById(anchor.getAttribute("data-tip") ?? "");
  if (tip === open) return;
  close();
  if (anchor && tip) place(anchor, tip);
}

/**
 * @param {Element} anchor
 * @param {HTMLElement} tip
 */
function place(anchor, tip) {
  open = tip;
  tip.setAttribute("data-open", "");
  const around = anchor.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const beside = around.left - 3 * GAP - width; // of the settings: above and below are other settings
  const above = around.top - GAP - height;
  const isBeside = anchor.classList.contains("row") && beside > MARGIN;
  const left = isBeside ? beside : Math.min(around.left, innerWidth - width - MARGIN);
  const top = isBeside ? Math.min(around.top, innerHeight - height - MARGIN) : above > MARGIN ? above : around.bottom + GAP;
  tip.style.left = `${Math.max(MARGIN, left)}px`;
  tip.style.top = `${Math.max(MARGIN, top)}px`;
}

function close() {
  open?.removeAttribute("data-open");
  open = null;
}
