// Zoom, and values under the cursor. The picture itself is already in the page; without this script it still reads.
(() => {
  const lanes = document.getElementById('lanes'), cursor = document.getElementById('cursor'), brush = document.getElementById('brush');
  const readout = document.getElementById('readout'), plot = lanes.querySelector('.plot');
  const views = { load: run.view, fault: run.fault, all: [0, run.length] };
  let view = run.view.slice(), drag = null;

  for (const e of document.querySelectorAll('.buttons, .hint')) e.hidden = false;

  function make(name, attributes, text) {
    const e = document.createElementNS(plot.namespaceURI, name);
    for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
    if (text !== undefined) e.textContent = text;
    return e;
  }

  function show(from, to) {
    const least = 200;
    if (to - from < least) { const middle = (from + to) / 2; from = middle - least / 2; to = middle + least / 2; }
    from = Math.max(0, from); to = Math.min(run.length, to);
    view = [from, to];
    for (const z of document.querySelectorAll('svg.z')) {
      z.setAttribute('x', -from / (to - from) * 100 + '%');
      z.setAttribute('width', run.length / (to - from) * 100 + '%');
    }
    ticks(from, to);
  }

  function ticks(from, to) {
    const span = (to - from) / 1000 / 12, power = 10 ** Math.floor(Math.log10(span));
    const step = power * [1, 2, 5, 10].find(m => power * m >= span * 0.999), digits = Math.max(0, -Math.floor(Math.log10(step)));
    const lines = [], texts = [];
    for (let n = Math.ceil((from - run.zero) / 1000 / step); run.zero + n * step * 1000 <= to; n++) {
      const x = (run.zero + n * step * 1000) / run.length * 100 + '%';
      lines.push(make('line', { class: 'grid', x1: x, x2: x, y2: '100%' }));
      const share = (run.zero + n * step * 1000 - from) / (to - from);
      if (share > 1 / 60 && share < 59 / 60) texts.push([x, (n * step).toFixed(digits)]);
    }
    document.getElementById('grid').replaceChildren(...lines);
    for (const g of document.querySelectorAll('.ticktext')) g.replaceChildren(...texts.map(([x, t]) => make('text', { x, y: 13 }, t)));
  }

  // at is the place of the pointer: pixels from the lanes' left edge, and milliseconds of the run; null beside the plot.
  function at(event) {
    const box = plot.getBoundingClientRect(), x = event.clientX - box.left;
    if (x < 0 || x > box.width) return null;
    return { px: event.clientX - lanes.getBoundingClientRect().left, t: view[0] + x / box.width * (view[1] - view[0]) };
  }

  function read(t) {
    const said = ['t = ' + (t < run.zero ? '−' : '+') + (Math.abs(t - run.zero) / 1000).toFixed(2) + ' s'];
    for (const s of run.steps) if (t >= s.from && t <= s.to) said.push('step ' + s.name);
    for (const [name, bins] of Object.entries(run.counts)) {
      const b = bins[Math.floor(t / run.bin)];
      if (!b) continue;
      const parts = [b[0] + ' ok'];
      if (b[1]) parts.push(b[1] + ' unknown');
      if (b[2]) parts.push(b[2] + ' failed');
      if (b[3]) parts.push(b[3] + ' failed ignoring the TTL');
      if (b[4]) parts.push(b[4] + ' not sent');
      said.push(name + ' ' + parts.join(', ') + ' (≤ ' + b[5] + ' ms)');
    }
    const lag = run.lag.filter(l => Math.abs(l[0] - t) < 1000).sort((a, b) => Math.abs(a[0] - t) - Math.abs(b[0] - t))[0];
    if (lag) said.push('lag ' + lag[1] + ' ms');
    readout.textContent = said.join(' · ');
  }

  lanes.addEventListener('pointermove', event => {
    const p = at(event);
    cursor.hidden = !p;
    if (!p) return;
    cursor.style.left = p.px + 'px';
    read(p.t);
    if (drag) {
      brush.hidden = false;
      brush.style.left = Math.min(p.px, drag.px) + 'px';
      brush.style.width = Math.abs(p.px - drag.px) + 'px';
    }
  });
  lanes.addEventListener('pointerleave', () => { cursor.hidden = true; readout.textContent = ''; });
  lanes.addEventListener('pointerdown', event => { drag = event.button === 0 ? at(event) : null; });
  window.addEventListener('pointerup', event => {
    const p = at(event);
    if (drag && p && Math.abs(p.px - drag.px) > 5) show(Math.min(p.t, drag.t), Math.max(p.t, drag.t));
    drag = null;
    brush.hidden = true;
  });
  lanes.addEventListener('dblclick', () => show(...run.view));
  for (const b of document.querySelectorAll('[data-view]')) b.addEventListener('click', () => show(...views[b.dataset.view]));
})();
