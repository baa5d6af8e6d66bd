// Leaves the declarations that have all words of the search, by name or in their text; those by name come into view first.
const search = document.getElementById("search");
const articles = [...document.querySelectorAll("article")].map((element) => ({ element, text: element.textContent.toLowerCase() }));
const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link.parentElement]));
function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let first = null;
  const seen = new Set();
  for (const { element, text } of articles) {
    const fits = words.every((word) => text.includes(word));
    element.hidden = !fits;
    if (fits) seen.add(element.dataset.name);
    if (fits && words.length && !first && words.every((word) => element.dataset.name.includes(word))) first = element;
  }
  for (const [id, item] of links) item.hidden = !seen.has(id.slice(id.indexOf(".") + 1).toLowerCase());
  for (const section of document.querySelectorAll("section")) section.hidden = !section.querySelector("article:not([hidden])");
  for (const head of document.querySelectorAll("nav h2")) head.hidden = !head.nextElementSibling.querySelector("li:not([hidden])");
  document.getElementById("none").hidden = seen.size > 0;
  if (first) first.scrollIntoView();
  else if (words.length) window.scrollTo(0, 0);
}
search.addEventListener("input", filter);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search) { event.preventDefault(); search.focus(); }
  if (event.key === "Escape") { search.value = ""; filter(); }
});
