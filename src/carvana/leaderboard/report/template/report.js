"use strict";

// Tables: a click on a heading sorts by it, another one the other way round.
for (const heading of document.querySelectorAll("th")) {
  heading.querySelector("button").addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const falls = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falls ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [row.cells[heading.cellIndex].textContent.trim(), row]);
    rows.sort(([a], [b]) => (a === "") - (b === "") || compare(a, b) * (falls ? -1 : 1));
    body.append(...rows.map(([, row]) => row));
  });
}

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
}

// The gallery.
const cards = document.getElementById("cards");
if (cards) {
  const all = [...cards.children];
  const filters = ["recipe", "fold", "angle"].map((name) => [name, document.getElementById(`by-${name}`)]);
  const sort = document.getElementById("sort");
  const large = document.getElementById("large");

  function show() {
    for (const card of all)
      card.hidden = filters.some(([name, choice]) => choice.value && choice.value !== card.dataset[name]);
    const key = sort.value.replace("-", "");
    const sign = sort.value.startsWith("-") ? -1 : 1;
    cards.append(
      ...all.sort((a, b) => sign * compare(a.dataset[key], b.dataset[key]) || compare(a.dataset.dice, b.dataset.dice)),
    );
    const shown = all.filter((card) => !card.hidden).length;
    document.getElementById("count").textContent = `${shown} of ${all.length} photos`;
  }

  function slide(input) {
    const place = `${input.value}%`;
    const stacks = input.id === "all" ? document.querySelectorAll(".stack") : [input.parentElement.querySelector(".stack")];
    for (const stack of stacks) stack.style.setProperty("--line-at", place);
    if (input.id === "all") for (const other of cards.querySelectorAll("input")) other.value = input.value;
  }

  function enlarge(card) {
    large.querySelector(".card")?.remove();
    large.append(card.cloneNode(true));
    large.querySelector(".card > input").value = card.querySelector("input").value;
    large.querySelector(".stack").tabIndex = -1;
    large.dataset.view = cards.dataset.view;
    large.showModal();
  }

  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  document.querySelector(".tools").addEventListener("change", (event) => {
    if (event.target.name === "view") cards.dataset.view = event.target.value;
    else if (event.target.tagName === "SELECT") show();
  });
  document.getElementById("gallery").addEventListener("input", (event) => {
    if (event.target.type === "range") slide(event.target);
  });
  cards.addEventListener("click", (event) => {
    const stack = event.target.closest(".stack");
    if (stack) enlarge(stack.parentElement);
  });
  show();
}
