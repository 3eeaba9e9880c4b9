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

// The galleries.
const large = document.getElementById("large");
for (const section of document.querySelectorAll(".gallery")) if (section.querySelector(".cards")) begin(section);

function begin(section) {
  const cards = section.querySelector(".cards");
  const all = [...cards.children];
  const tools = section.querySelector(".tools");
  const filters = [...tools.querySelectorAll("[data-filter]")];
  const sort = document.getElementById(`${section.id}-sort`);
  const first = sort.options[0].value;

  function show() {
    for (const card of all)
      card.hidden = filters.some((choice) => choice.value && choice.value !== card.dataset[choice.dataset.filter]);
    const key = sort.value.replace("-", "");
    const sign = sort.value.startsWith("-") ? -1 : 1;
    cards.append(
      ...all.sort((a, b) => sign * compare(a.dataset[key], b.dataset[key]) || compare(a.dataset[first], b.dataset[first])),
    );
    const shown = all.filter((card) => !card.hidden).length;
    document.getElementById(`${section.id}-count`).textContent = `${shown} of ${all.length} photos`;
  }

  tools.addEventListener("submit", (event) => event.preventDefault());
  tools.addEventListener("change", (event) => {
    if (event.target.type === "radio") cards.dataset.view = event.target.value;
    else if (event.target.tagName === "SELECT") show();
  });
  tools.addEventListener("input", (event) => {
    if (event.target.type !== "range") return;
    for (const card of all) slide(card, event.target.value);
  });
  cards.addEventListener("input", (event) => slide(event.target.parentElement, event.target.value));
  cards.addEventListener("click", (event) => {
    const stack = event.target.closest(".stack");
    if (stack) enlarge(stack.parentElement, cards.dataset.view);
  });
  show();
}

function slide(card, place) {
  card.querySelector("input").value = place;
  card.querySelector(".stack").style.setProperty("--line-at", `${place}%`);
}

function enlarge(card, view) {
  large.querySelector(".card")?.remove();
  large.append(card.cloneNode(true));
  slide(large.querySelector(".card"), card.querySelector("input").value);
  large.querySelector(".stack").tabIndex = -1;
  large.dataset.view = view;
  large.showModal();
}

large.addEventListener("input", (event) => slide(event.target.parentElement, event.target.value));
