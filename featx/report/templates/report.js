"use strict";
// Draws what is in sight: a chart in a hidden panel has no width yet.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const options = {
    mode: "vega-lite", renderer: "svg", ast: true, actions: false, defaultStyle: false,
    config: read("chart-config"), tooltip: { disableDefaultStyle: true, theme: "page" },
  };
  const draw = async (box) => {
    if (box.dataset.state || box.closest("[hidden]")) return;
    box.dataset.state = "drawing";
    try {
      await vegaEmbed(box, read(box.id + "-spec"), options);
      // The library gives a role of its own; the marks are not to be read one by one.
      box.setAttribute("role", "img");
      box.removeAttribute("aria-roledescription");
      box.querySelector("svg").setAttribute("aria-hidden", "true");
      box.dataset.state = "drawn";
    } catch (error) {
      box.dataset.state = "failed";
      box.textContent = "This chart could not be drawn. Its numbers are in the table below.";
    }
  };
  const drawAll = async () => {
    for (const box of document.querySelectorAll(".chart")) await draw(box);
  };
  const pick = document.getElementById("pick");
  const show = () => {
    for (const panel of document.querySelectorAll(".panel")) {
      panel.hidden = panel.dataset.panel !== pick.value;
    }
    window.dispatchEvent(new Event("resize"));
    return drawAll();
  };
  if (pick) {
    pick.addEventListener("change", show);
    show();
  } else drawAll();
})();
