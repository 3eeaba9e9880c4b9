"use strict";

const results = document.getElementById("results");
const status = document.getElementById("status");
const drop = document.getElementById("drop");
const colour = document.getElementById("colour");
const maxBytes = Number(document.getElementById("photos").dataset.maxBytes);
let queue = Promise.resolve();
let waiting = 0;

/** Return the colour of the chosen ground, or "" if it is transparent. */
function ground() {
  const chosen = document.querySelector("input[name=ground]:checked").value;
  return chosen === "colour" ? colour.value : chosen;
}

function showGround() {
  results.style.setProperty("--ground", ground());
  for (const image of results.querySelectorAll(".cutout")) {
    image.classList.toggle("plain", ground() !== "");
  }
}

function showStatus() {
  status.textContent = waiting ? `${waiting} to do` : results.children.length ? "Done" : "";
}

/** Send a photo, and return the blob of its cut-out. */
async function cutOut(file) {
  if (file.size > maxBytes) throw new Error(`is larger than ${maxBytes / 1024 ** 2} MB`);
  let answer;
  try {
    answer = await fetch("/cutout", { method: "POST", body: file });
  } catch {
    throw new Error("the program does not answer; is it still running?");
  }
  if (!answer.ok) throw new Error(await answer.text());
  return answer.blob();
}

/** Return the PNG to download: the cut-out, over the chosen ground if it is not transparent. */
async function onGround(blob) {
  if (ground() === "") return blob;
  const bitmap = await createImageBitmap(blob);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.fillStyle = ground();
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Move the divider between photo and cut-out: with the range, or by dragging on the photo. */
function connectDivider(card) {
  const divider = card.querySelector(".divider");
  const stack = card.querySelector(".stack");
  const show = () => stack.style.setProperty("--divider", `${divider.value}%`);
  divider.addEventListener("input", show);
  stack.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" && !event.buttons) return;
    const box = stack.getBoundingClientRect();
    divider.value = (100 * (event.clientX - box.left)) / box.width;
    show();
  });
  stack.addEventListener("dragstart", (event) => event.preventDefault());
  show();
}

function addCard(file, blob) {
  const card = document.getElementById("card").content.cloneNode(true).querySelector("figure");
  const urls = [file, blob].map((content) => URL.createObjectURL(content));
  card.querySelector(".photo").src = urls[0];
  card.querySelector(".photo").alt = `Photo ${file.name}`;
  card.querySelector(".cutout").src = urls[1];
  card.querySelector(".cutout").alt = `Cut-out of ${file.name}`;
  card.querySelector(".name").textContent = file.name;
  card.querySelector(".divider").setAttribute("aria-label", `Divider between photo and cut-out, ${file.name}`);
  connectDivider(card);
  const name = `${file.name.replace(/\.[^.]*$/, "")}.png`;
  card.querySelector(".download").addEventListener("click", async () => download(await onGround(blob), name));
  card.querySelector(".remove").addEventListener("click", () => {
    urls.forEach((url) => URL.revokeObjectURL(url));
    card.remove();
    showStatus();
  });
  results.prepend(card);
  showGround();
}

function addError(file, error) {
  const card = document.getElementById("card").content.cloneNode(true).querySelector("figure");
  card.classList.add("error");
  card.querySelector(".name").textContent = `${file.name}: ${error.message}`;
  card.querySelector(".remove").addEventListener("click", () => card.remove());
  results.prepend(card);
}

/** Cut cars out of photos, one after the other. */
function add(files) {
  for (const file of files) {
    waiting += 1;
    queue = queue.then(async () => {
      try {
        addCard(file, await cutOut(file));
      } catch (error) {
        addError(file, error);
      }
      waiting -= 1;
      showStatus();
    });
  }
  showStatus();
}

document.getElementById("photos").addEventListener("change", (event) => {
  add([...event.target.files]);
  event.target.value = ""; // so that the same photo can be chosen again
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", name === "dragover");
  });
}
document.addEventListener("drop", (event) => add([...event.dataTransfer.files]));
document.getElementById("grounds").addEventListener("input", (event) => {
  if (event.target === colour) document.querySelector("input[value=colour]").checked = true;
  showGround();
});
