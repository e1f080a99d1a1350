// Keeps what changes on a page up to date, by server-sent events; without it the page stands still.
"use strict";
(() => {
  const address = document.body.dataset.live;
  const sign = document.getElementById("live");
  if (!address || !sign || !window.EventSource) return;
  let source = null;
  let again = 0;
  let wait = 2000;

  const say = (text, state) => {
    sign.hidden = false;
    sign.dataset.state = state;
    if (sign.textContent !== text) sign.textContent = text;
  };

  const open = () => {
    clearTimeout(again);
    source = new EventSource(address);
    source.onopen = () => { wait = 2000; say("Live", "on"); };
    source.onmessage = (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) fill(id, html);
    };
    source.onerror = () => {
      say("Not live, reconnecting", "off");
      // A refusal is final for the browser, but a proxy refuses too while a pod is replaced.
      if (source.readyState === EventSource.CLOSED) {
        again = setTimeout(open, wait);
        wait = Math.min(2 * wait, 60000);
      }
    };
  };

  const close = () => {
    clearTimeout(again);
    if (source) source.close();
    source = null;
  };

  const fill = (id, html) => {
    const element = document.getElementById(id);
    if (!element) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    renew(element, fresh.content);
  };

  // Changes only what differs: so the focus, a selection, opened details and the scroll position stay.
  const renew = (element, fresh) => {
    const keyed = new Map();
    for (const child of element.children) if (child.dataset.key) keyed.set(child.dataset.key, child);
    let at = element.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      const key = wanted.nodeType === Node.ELEMENT_NODE ? wanted.dataset.key : undefined;
      let found = key ? keyed.get(key) : at;
      while (!key && found && found.nodeType === Node.ELEMENT_NODE && found.dataset.key) found = found.nextSibling;
      if (!found || found.nodeName !== wanted.nodeName) {
        element.insertBefore(wanted, at);
        continue;
      }
      if (found === at) at = at.nextSibling;
      else element.insertBefore(found, at);
      if (found.nodeType === Node.TEXT_NODE) {
        if (found.data !== wanted.data) found.data = wanted.data;
      } else if (found.nodeType === Node.ELEMENT_NODE) {
        same(found, wanted);
        renew(found, wanted);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  };

  const same = (element, wanted) => {
    for (const { name, value } of wanted.attributes)
      if (element.getAttribute(name) !== value) element.setAttribute(name, value);
    for (const { name } of [...element.attributes])
      if (!wanted.hasAttribute(name) && !(element.nodeName === "DETAILS" && name === "open")) element.removeAttribute(name);
  };

  // A browser holds only six connections to a host: what nobody looks at gives its one back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (!source) open();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted && !source) open(); });
  if (!document.hidden) open();
})();
