// Colours `.evo` code in the book: words, text, numbers, comments.
(() => {
  if (!window.hljs) return;
  hljs.registerLanguage("evo", () => ({
    name: "evo",
    keywords: {
      keyword:
        "let if then else for in and or not param fn genome type use extern kind save print plot expect to over as log",
      literal: "true false",
      built_in: "int real bool text duration bytes money Model Data Task Weight Tensor Search Archive",
    },
    contains: [
      { className: "comment", begin: "//", end: "$" },
      { className: "string", begin: '"""', end: '"""' },
      { className: "string", begin: '"', end: '"', illegal: "\\n" },
      { className: "number", begin: "\\b\\d[\\d_]*(\\.\\d+)?([eE][+-]?\\d+)?[A-Za-z%]*" },
    ],
  }));
  // The name differs between releases of the highlighter.
  const highlight = hljs.highlightElement || hljs.highlightBlock;
  document.querySelectorAll("code.language-evo").forEach((code) => highlight.call(hljs, code));
})();
