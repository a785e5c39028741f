"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const panel = $("panel");
  let data = null;
  // The details are parsed when the first one is opened: a fleet of a thousand hosts has megabytes of them.
  const details = () => (data ??= JSON.parse($("data").textContent));

  // Every text goes through textContent, so no name can become markup.
  const make = (tag, text, ...children) => {
    const node = document.createElement(tag);
    if (text) node.textContent = text;
    node.append(...children);
    return node;
  };
  const withClass = (node, name) => { node.className = name; return node; };

  const table = (head, rows, numeric) => {
    const cells = (row, tag) => row.map((cell, column) => {
      const node = make(tag, cell);
      if (numeric && column > 0) node.className = "n";
      return node;
    });
    const body = make("tbody", "", ...rows.map((row) => make("tr", "", ...cells(row, "td"))));
    return withClass(make("div", "", make("table", "", make("thead", "", make("tr", "", ...cells(head, "th"))), body)), "scroll");
  };

  const pairs = (rows) => withClass(make("ul", "", ...rows.map(([name, words]) =>
    make("li", "", make("b", name), make("span", words)))), "pairs");

  const reason = (decision) => {
    const title = make("h4", "", make("span", decision.topic), decision.chosen);
    const node = withClass(make("div", "", title, make("p", decision.because)), "reason");
    if (decision.evidence.length) node.append(make("h5", "From"), pairs(decision.evidence));
    if (decision.rejected.length) node.append(make("h5", "Refused"), pairs(decision.rejected));
    node.append(withClass(make("p", "rule: " + decision.rule), "rule"));
    return node;
  };

  const commandLine = (process) => {
    const lines = [process.program];
    for (const word of process.argv) {
      const shown = /^[\w@%+=:,./-]+$/.test(word) ? word : "'" + word.replaceAll("'", "'\\''") + "'";
      if (word.startsWith("-") || lines.length === 1) lines.push("  " + shown);
      else lines[lines.length - 1] += " " + shown;
    }
    return make("pre", lines.join("\n"));
  };

  const open = (name) => {
    const { instances, reasons } = details();
    const one = Object.hasOwn(instances, name) ? instances[name] : null;
    if (!one) return;
    $("panel-title").textContent = name;
    $("panel-model").textContent = "Instance of " + one.model;
    const facts = withClass(make("dl", "", ...one.facts.flatMap(([key, value]) => [make("dt", key), make("dd", value)])), "facts");
    const parts = [facts];
    if (one.changes.length) parts.push(make("h3", "What changed"), table(["", "Before", "After"], one.changes, false));
    parts.push(make("h3", "Memory"), table(["Device", "Weights", "KV cache", "Compute", "Overhead", "Total"], one.memory, true));
    parts.push(make("h3", "Why"), ...one.decisions.map((number) => reason(reasons[number])));
    if (!one.decisions.length) parts.push(make("p", "The plan holds no reasons for this instance."));
    parts.push(make("h3", one.processes.length > 1 ? "Processes" : "Command line"));
    for (const process of one.processes) {
      if (one.processes.length > 1) parts.push(make("p", process.name + " on " + process.host));
      parts.push(commandLine(process));
      if (process.env.length) parts.push(make("pre", process.env.join("\n")));
    }
    $("panel-body").replaceChildren(...parts);
    if (!panel.open) panel.showModal();
    panel.scrollTop = 0;
    history.replaceState(null, "", "#instance=" + encodeURIComponent(name));
  };
  panel.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
  // report.html#instance=chat-0 opens with that instance, so that a review can point at it.
  const linked = () => {
    if (location.hash.startsWith("#instance=")) open(decodeURIComponent(location.hash.slice(10)));
  };
  addEventListener("hashchange", linked);

  document.addEventListener("click", (event) => {
    const target = event.target.closest("[data-i]");
    if (target) open(target.dataset.i);
    else if (event.target === panel || event.target.id === "panel-close") panel.close();
  });

  // Pointing at an instance dims its neighbours, wherever else it lies.
  let lit = "";
  const light = (name) => {
    if (name === lit) return;
    lit = name;
    for (const node of document.querySelectorAll(".bar g.on")) node.classList.remove("on");
    document.body.classList.toggle("lit", name !== "");
    if (name) for (const node of document.querySelectorAll(`.bar g[data-i="${CSS.escape(name)}"]`)) node.classList.add("on");
  };
  const pointed = (event) => light(event.target.closest?.(".hosts [data-i]")?.dataset.i ?? "");
  document.addEventListener("mouseover", pointed);
  document.addEventListener("focusin", pointed);

  const model = $("f-model"), host = $("f-host"), label = $("f-label"), count = $("f-count");
  const cards = [...document.querySelectorAll(".host")];
  const rows = [...document.querySelectorAll("tr[data-model]")];
  const filter = () => {
    const wanted = host.value.trim().toLowerCase();
    const named = new Set();
    let shown = 0;
    for (const card of cards) {
      const { models, labels } = card.dataset;
      const fits = (!model.value || models.split(" ").includes(model.value))
        && (!label.value || labels.split("\t").includes(label.value))
        && card.dataset.host.toLowerCase().includes(wanted);
      card.hidden = !fits;
      if (fits) named.add(card.dataset.host);
      if (fits && !card.closest(".before")) shown += 1;
    }
    const all = !model.value && !label.value && !wanted;
    for (const row of rows) {
      row.hidden = !all && ((model.value && row.dataset.model !== model.value) || !row.dataset.hosts.split(" ").some((one) => named.has(one)));
    }
    for (const change of document.querySelectorAll(".change")) change.hidden = Boolean(model.value) && change.dataset.model !== model.value;
    const total = cards.filter((card) => !card.closest(".before")).length;
    count.textContent = all ? count.dataset.all : `${shown.toLocaleString("en")} of ${total.toLocaleString("en")} hosts`;
    $("f-none").hidden = shown > 0;
  };
  count.dataset.all = count.textContent;
  model.form.addEventListener("input", filter);
  model.form.addEventListener("submit", (event) => event.preventDefault());
  model.form.addEventListener("reset", () => setTimeout(filter));
  linked();
})();
