// Copy buttons, and what tables need on a narrow screen. Nothing is loaded, and nothing is sent.
"use strict";

/** What a reader wants of a block: of a session in a terminal the commands, without their prompt. */
function copied(block) {
  const text = block.querySelector("pre").innerText;
  if (!block.parentElement.classList.contains("highlight-console")) return text;
  return text.split("\n").filter((line) => line.startsWith("$ ")).map((line) => `${line.slice(2)}\n`).join("");
}

// What a program prints is read, not typed.
for (const block of document.querySelectorAll("div:not(.highlight-text) > div.highlight")) {
  const button = document.createElement("button");
  button.className = "copy";
  button.type = "button";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(copied(block));
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(block.querySelector("pre"));
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  block.append(button);
}

for (const table of document.querySelectorAll("article table.docutils")) {
  const names = [...table.querySelectorAll("thead th")].map((one) => one.textContent);
  for (const row of table.querySelectorAll("tbody tr")) {
    [...row.children].forEach((cell, at) => { if (cell.textContent.trim()) cell.dataset.label = names[at] || ""; });
  }
}

// A long name in a table can be broken after each of its words.
for (const word of document.querySelectorAll("article table.docutils td code span.pre")) {
  const parts = word.textContent.split(/(?<=[_/:,.])(?=\w)|(?<=[a-z])(?=[A-Z])/);
  if (word.textContent.length > 20) word.replaceChildren(...parts.flatMap((part) => [part, document.createElement("wbr")]));
}
