"use strict";

// Tables: a click on a heading sorts by it, a second click reverses the order.
for (const heading of document.querySelectorAll("th")) {
  heading.querySelector("button").addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const descending = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.children) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => [row.cells[heading.cellIndex].textContent.trim(), row]);
    rows.sort(([a], [b]) => (a === "") - (b === "") || compare(a, b) * (descending ? -1 : 1));
    body.append(...rows.map(([, row]) => row));
  });
}

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
}

// Galleries: filters, sorting, overlays and dividers.
const enlarged = document.getElementById("enlarged");
for (const section of document.querySelectorAll(".gallery")) if (section.querySelector(".cards")) setUp(section);

function setUp(section) {
  const cards = section.querySelector(".cards");
  const all = [...cards.children];
  const tools = section.querySelector(".tools");
  const filters = [...tools.querySelectorAll("[data-filter]")];
  const sort = document.getElementById(`${section.id}-sort`);
  const defaultKey = sort.options[0].value;

  function update() {
    for (const card of all)
      card.hidden = filters.some((filter) => filter.value && filter.value !== card.dataset[filter.dataset.filter]);
    const key = sort.value.replace("-", "");
    const sign = sort.value.startsWith("-") ? -1 : 1;
    cards.append(
      ...all.sort((a, b) => sign * compare(a.dataset[key], b.dataset[key]) || compare(a.dataset[defaultKey], b.dataset[defaultKey])),
    );
    const visible = all.filter((card) => !card.hidden).length;
    document.getElementById(`${section.id}-count`).textContent = `${visible} of ${all.length} photos`;
  }

  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("change", (event) => {
    if (event.target.type === "radio") cards.dataset.view = event.target.value;
    else if (event.target.tagName === "SELECT") update();
  });
  tools.addEventListener("input", (event) => {
    if (event.target.type !== "range") return;
    for (const card of all) moveDivider(card, event.target.value);
  });
  cards.addEventListener("input", (event) => moveDivider(event.target.parentElement, event.target.value));
  cards.addEventListener("click", (event) => {
    const stack = event.target.closest(".stack");
    if (stack) enlarge(stack.parentElement, cards.dataset.view);
  });
  update();
}

function moveDivider(card, percent) {
  card.querySelector("input").value = percent;
  card.querySelector(".stack").style.setProperty("--divider", `${percent}%`);
}

function enlarge(card, view) {
  enlarged.querySelector(".card")?.remove();
  enlarged.append(card.cloneNode(true));
  moveDivider(enlarged.querySelector(".card"), card.querySelector("input").value);
  enlarged.querySelector(".stack").tabIndex = -1;
  enlarged.dataset.view = view;
  enlarged.showModal();
}

enlarged.addEventListener("input", (event) => moveDivider(event.target.parentElement, event.target.value));
