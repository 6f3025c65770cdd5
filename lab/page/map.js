// SPDX-License-Identifier: Apache-2.0
'use strict';
// The script of `elek memory --html`: a curve of the bytes alive at each step over the memory map of one allocator or of all.
// The map is painted into an array of pixels: the blocks of one map never overlap, so a frame costs about one write per pixel
// and one loop over the blocks, whatever their number. Names and axes are drawn over it. What follows the pointer is drawn on
// a second canvas, so that moving it does not paint the map again.
// Tests: tests/lab (in headless Chromium)
(function () {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($('data').textContent);
  const most = { names: 220, rows: 60, matches: 3000 };  // more than a person reads, few enough for a frame

  const kinds = ['short2', 'short', 'long', 'hatch'];
  const sets = data.sets.map(prepare);
  const view = {
    set: 0, panel: 0, all: false, step: 0, chosen: -1, hover: -1, shared: { one: false, all: true }, weights: false, dark: false,
    x0: 0, x1: 1, y0: 0, y1: 1, matches: [], match: -1, letters: [],
  };
  let colour = {}, regions = null, width = 0, height = 0, dpr = 1, font = 16;

  function prepare(set) {
    const b = set.blocks, n = b.bytes.length, steps = set.steps.length;
    const made = {
      name: set.name, steps: set.steps, names: b.name, details: b.detail, n,
      bytes: Float64Array.from(b.bytes), size: Float64Array.from(b.bytes, (v) => Math.ceil(v / 256) * 256),
      first: Int32Array.from(b.first), last: Int32Array.from(b.last), workspace: Uint8Array.from(b.workspace),
      bound: set.bound, alive: new Float64Array(steps + 1), panels: [], top: 0, peak: 0, curveTop: 0,
      kind: new Uint8Array(n),  // its colour: see kinds
    };
    for (let i = 0; i < n; ++i) {
      made.alive[made.first[i]] += made.size[i];
      made.alive[made.last[i] + 1] -= made.size[i];
      made.kind[i] = made.workspace[i] ? 3 : made.last[i] - made.first[i] >= 4 ? 2 : i % 2;
    }
    for (let s = 1; s <= steps; ++s) made.alive[s] += made.alive[s - 1];
    for (let s = 0; s < steps; ++s) if (made.alive[s] > made.alive[made.peak]) made.peak = s;
    made.curveTop = Math.max(made.alive[made.peak], 1);
    for (const p of set.panels) {
      made.panels.push({ key: p.key, title: p.title, reserved: p.reserved, waste: p.waste, kept: p.kept,
                         offset: Float64Array.from(p.offset), room: Float64Array.from(p.room) });
      made.top = Math.max(made.top, p.reserved);
    }
    made.top = Math.max(made.top, made.bound, 1);
    made.bySize = Int32Array.from({ length: n }, (_, i) => i)
        .sort((a, c) => made.size[c] * (made.last[c] - made.first[c] + 1) - made.size[a] * (made.last[a] - made.first[a] + 1));
    return made;
  }
  const now = () => sets[view.set];
  const weightBytes = data.weights.bytes.reduce((sum, v) => sum + v, 0);

  function mb(bytes) {
    const v = bytes / 1e6;
    return v.toFixed(v < 10 ? 3 : v < 100 ? 2 : 1);
  }
  const commas = (v) => Math.round(v).toString().replace(/\B(?=(\d{3})+$)/g, ',');
  const stepName = (set, s) => set.steps[s] || 'event ' + (s + 1);

  // ---- layout -------------------------------------------------------------------------------------------------------------

  function layout() {
    const box = $('stage').getBoundingClientRect();
    dpr = Math.min(window.devicePixelRatio || 1, 2);
    font = parseFloat(getComputedStyle(document.documentElement).fontSize) * dpr;
    width = Math.max(200, Math.round(box.width * dpr));
    height = Math.max(200, Math.round(box.height * dpr));
    for (const id of ['map', 'over']) {
      if ($(id).width !== width || $(id).height !== height) { $(id).width = width; $(id).height = height; }
    }
    const left = Math.round(font * 3.4), gap = Math.round(font * 1.7), foot = Math.round(font * 1.5);
    const curve = { x: left, y: gap, w: width - left - 4, h: Math.round(height * 0.2) };
    const panels = [], top = curve.y + curve.h + foot + gap;
    const shown = view.all ? now().panels.map((_, i) => i) : [view.panel];
    const columns = shown.length > 1 ? 2 : 1, rows = Math.ceil(shown.length / columns);
    const w = Math.floor((width - 4 - columns * left) / columns), h = Math.floor((height - top - foot - (rows - 1) * (foot + gap)) / rows);
    shown.forEach((panel, i) => {
      const wide = view.weights && data.weights.bytes.length > 0 ? Math.round(font * 5) : 0;
      const x = left + (i % columns) * (w + left), y = top + Math.floor(i / columns) * (h + foot + gap);
      panels.push({ panel, x: x + wide, y, w: w - wide, h, weightsX: x, weightsW: wide ? wide - 6 : 0 });
    });
    regions = { curve, panels };
  }

  const scaled = () => view.all ? 'all' : 'one';
  const shared = () => view.shared[scaled()];  // of one panel or of all: each is remembered
  function scaleTop(p) {
    let top = shared() ? now().top : Math.max(now().panels[p.panel].reserved, now().bound, 1);
    if (p.weightsW) top = Math.max(top, weightBytes);
    return top * 1.03;
  }
  const steps = () => now().steps.length;
  const xOf = (r, s) => r.x + (s / steps() - view.x0) / (view.x1 - view.x0) * r.w;
  const yOf = (r, bytes, top) => r.y + r.h - (bytes / top - view.y0) / (view.y1 - view.y0) * r.h;
  const stepAt = (r, x) => Math.floor(((x - r.x) / r.w * (view.x1 - view.x0) + view.x0) * steps());
  const bytesAt = (r, y, top) => ((r.y + r.h - y) / r.h * (view.y1 - view.y0) + view.y0) * top;

  // ---- painting -----------------------------------------------------------------------------------------------------------

  function readColours() {
    document.documentElement.dataset.theme = view.dark ? 'dark' : 'light';
    const style = getComputedStyle(document.documentElement);
    for (const name of ['back', 'text', 'soft', 'line', 'empty', 'short', 'short2', 'long', 'edge', 'hatch', 'kept', 'dots', 'lit',
      'match', 'weight', 'on-long', 'on-short']) {
      const hex = style.getPropertyValue('--' + name).trim();
      colour[name] = hex;
      const v = parseInt(hex.slice(1), 16);  // as a little-endian RGBA pixel
      colour[name + '#'] = (0xff000000 | (v & 0xff) << 16 | (v & 0xff00) | v >>> 16) >>> 0;
    }
  }

  let image = null, pixels = null;
  function box(x0, y0, x1, y1, value) {
    for (let y = y0; y < y1; ++y) {
      const row = y * width;
      if (x1 - x0 > 12) pixels.fill(value, row + x0, row + x1);
      else for (let x = row + x0; x < row + x1; ++x) pixels[x] = value;
    }
  }
  function hatched(x0, y0, x1, y1) {
    const a = colour['back#'], b = colour['hatch#'];
    for (let y = y0; y < y1; ++y) for (let x = x0; x < x1; ++x) pixels[y * width + x] = (x + y) % 7 < 2 ? b : a;
  }
  function dotted(x0, y0, x1, y1) {
    box(x0, y0, x1, y1, colour['kept#']);
    const dot = colour['dots#'];
    for (let y = y0 + (6 - y0 % 6) % 6; y < y1; y += 6) for (let x = x0 + (6 - x0 % 6) % 6; x < x1; x += 6) pixels[y * width + x] = dot;
  }

  /** The pixels of block i in a region, clipped; null if it is out of sight. */
  function placed(r, top, i, out) {
    const set = now(), panel = set.panels[r.panel];
    let x0 = Math.round(xOf(r, set.first[i])), x1 = Math.round(xOf(r, set.last[i] + 1));
    let y1 = Math.round(yOf(r, panel.offset[i], top)), y0 = Math.round(yOf(r, panel.offset[i] + panel.room[i], top));
    if (x1 <= x0) x1 = x0 + 1;
    if (y1 <= y0) y1 = y0 + 1;
    out.x0 = Math.max(x0, r.x); out.x1 = Math.min(x1, r.x + r.w);
    out.y0 = Math.max(y0, r.y); out.y1 = Math.min(y1, r.y + r.h);
    return out.x1 > out.x0 && out.y1 > out.y0 && set.bytes[i] > 0;
  }

  function paintPanel(r) {
    const set = now(), panel = set.panels[r.panel], top = scaleTop(r), { n, first, last, kind, bytes } = set, { offset, room } = panel;
    const empty = Math.max(r.y, Math.round(yOf(r, panel.reserved, top)));
    const right = r.x + r.w, bottom = r.y + r.h, floor = Math.min(bottom, Math.round(yOf(r, 0, top)));
    if (empty < floor) box(r.x, empty, right, floor, colour['empty#']);
    // xOf and yOf as a * v + b, because this runs for each block in each frame.
    const ax = r.w / (view.x1 - view.x0) / steps(), bx = r.x - view.x0 * steps() * ax + 0.5;
    const ay = r.h / (view.y1 - view.y0) / top, by = bottom + view.y0 * top * ay + 0.5;
    if (panel.kept) {  // memory that is never reused: each row of pixels once
      const from = new Int32Array(r.h).fill(right);
      for (let i = 0; i < n; ++i) {
        const x = (last[i] + 1) * ax + bx | 0, below = by - offset[i] * ay | 0, above = by - (offset[i] + room[i]) * ay | 0;
        const y1 = Math.min(r.h, Math.max(above + 1, below) - r.y);
        for (let y = Math.max(0, above - r.y); y < y1; ++y) if (x < from[y]) from[y] = x < r.x ? r.x : x;
      }
      for (let y = 0; y < r.h; ++y) if (from[y] < right) dotted(from[y], r.y + y, right, r.y + y + 1);
    }
    const fills = kinds.map((name) => colour[name + '#']), edge = colour['edge#'];
    for (let i = 0; i < n; ++i) {
      let x0 = first[i] * ax + bx | 0, x1 = (last[i] + 1) * ax + bx | 0;
      if (x1 <= x0) x1 = x0 + 1;
      if (x0 < r.x) x0 = r.x;
      if (x1 > right) x1 = right;
      if (x1 <= x0 || bytes[i] === 0) continue;
      let y1 = by - offset[i] * ay | 0, y0 = by - (offset[i] + room[i]) * ay | 0;
      if (y1 <= y0) y1 = y0 + 1;
      if (y0 < r.y) y0 = r.y;
      if (y1 > bottom) y1 = bottom;
      if (y1 <= y0) continue;
      const fill = fills[kind[i]];
      if (y1 - y0 === 1) {  // most of a large trace: one row of pixels
        const row = y0 * width;
        for (let x = row + x0; x < row + x1; ++x) pixels[x] = fill;
      } else if (x1 - x0 > 3 && y1 - y0 > 3) {
        box(x0, y0, x1, y1, edge);
        if (kind[i] === 3) hatched(x0 + 1, y0 + 1, x1 - 1, y1 - 1);
        else box(x0 + 1, y0 + 1, x1 - 1, y1 - 1, fill);
      } else {
        box(x0, y0, x1, y1, fill);
      }
    }
    if (r.weightsW) {
      let end = 0;
      data.weights.bytes.forEach((bytes, k) => {
        const y1 = Math.min(r.y + r.h, Math.round(yOf(r, end, top)));
        const y0 = Math.max(r.y, Math.round(yOf(r, end + bytes, top)));
        end += bytes;
        if (y0 >= y1) return;
        box(r.weightsX, y0, r.weightsX + r.weightsW, y1, colour['edge#']);
        if (y1 - y0 > 2) box(r.weightsX + 1, y0 + 1, r.weightsX + r.weightsW - 1, y1, colour[k % 2 ? 'weight#' : 'line#']);
      });
    }
  }

  /** A column of pixels shows the largest sum of its steps. */
  function paintCurve(r) {
    const set = now(), top = set.curveTop * 1.08, a = (view.x1 - view.x0) / r.w * steps(), b = view.x0 * steps(), end = set.steps.length - 1;
    for (let x = 0; x < r.w; ++x) {
      const from = Math.min(end, a * x + b | 0), to = Math.min(end, Math.max(from, (a * (x + 1) + b | 0) - 1));
      let value = 0;
      for (let s = from; s <= to; ++s) if (set.alive[s] > value) value = set.alive[s];
      const high = Math.round(value / top * r.h);
      for (let y = r.y + r.h - high; y < r.y + r.h; ++y) pixels[y * width + r.x + x] = colour['short#'];
    }
  }

  function write(ctx, text, x, y, size, fill, align) {
    ctx.font = size + 'px "DejaVu Sans", Verdana, Arial, sans-serif';
    ctx.textAlign = align || 'left';
    ctx.fillStyle = fill;
    ctx.fillText(text, x, y);
  }
  function stroke(ctx, x0, y0, x1, y1, style, w, dash) {
    ctx.strokeStyle = style; ctx.lineWidth = w; ctx.setLineDash(dash || []);
    ctx.beginPath(); ctx.moveTo(x0, y0); ctx.lineTo(x1, y1); ctx.stroke();
    ctx.setLineDash([]);
  }

  /** 1, 2 or 5 times a power of ten, so that a range has three to seven ticks. */
  function tick(range) {
    const raw = range / 5, power = Math.pow(10, Math.floor(Math.log10(raw)));
    for (const factor of [1, 2, 5]) if (raw <= factor * power) return factor * power;
    return 10 * power;
  }

  function byteAxis(ctx, r, low, high, x) {
    const each = tick((high - low) / 1e6) * 1e6;
    const digits = each >= 1e6 ? 0 : each >= 1e5 ? 1 : each >= 1e4 ? 2 : 3;
    for (let v = Math.ceil(low / each) * each; v <= high; v += each) {
      const y = r.y + r.h - (v - low) / (high - low) * r.h;
      stroke(ctx, x - 5 * dpr, y, x, y, colour.text, dpr);
      write(ctx, (v / 1e6).toFixed(digits), x - 7 * dpr, y + font * 0.34, font * 0.94, colour.text, 'right');
    }
    stroke(ctx, x, r.y, x, r.y + r.h, colour.text, dpr);
  }

  function stepAxis(ctx, r) {
    const from = view.x0 * steps(), to = view.x1 * steps(), y = r.y + r.h;
    stroke(ctx, r.x, y, r.x + r.w, y, colour.text, dpr);
    const each = Math.max(1, Math.round(tick((to - from) * Math.max(1, 5 / Math.max(1, Math.floor(r.w / (font * 6)))))));
    for (let s = Math.ceil((from + 0.5) / each) * each; s <= to; s += each) {
      if (s < 1) continue;
      const x = xOf(r, s - 0.5);
      if (x < r.x || x > r.x + r.w) continue;
      stroke(ctx, x, y, x, y + 5 * dpr, colour.text, dpr);
      write(ctx, commas(s), x, y + font * 1.2, font * 0.94, colour.text, 'center');
    }
  }

  function drawCurve(ctx) {
    const r = regions.curve, set = now(), top = set.curveTop * 1.08;
    write(ctx, 'MB alive at each step (lower bound of any allocator: ' + mb(set.bound) + ' MB, at step ' + commas(set.peak + 1) + ' ' +
          stepName(set, set.peak) + ')', r.x - font * 3, r.y - font * 0.55, font, colour.text);
    const y = r.y + r.h - set.bound / top * r.h;
    stroke(ctx, r.x, y, r.x + r.w, y, colour.text, 2 * dpr, [9 * dpr, 5 * dpr]);
    byteAxis(ctx, r, 0, top, r.x);
    stepAxis(ctx, r);
  }

  function drawPanelText(ctx, r) {
    const set = now(), panel = set.panels[r.panel], top = scaleTop(r), at = {};
    const many = regions.panels.length > 1;
    write(ctx, (many ? panel.key : panel.title) + ': ' + mb(panel.reserved) + (many ? ' MB, waste ' : ' MB reserved, waste ') + (100 * panel.waste).toFixed(1) + ' %',
          (r.weightsW ? r.weightsX : r.x) - (many ? 0 : font * 3), r.y - font * 0.55, font, colour.text);
    byteAxis(ctx, r, view.y0 * top, view.y1 * top, r.weightsW ? r.weightsX : r.x);
    stepAxis(ctx, r);
    if (r.weightsW) write(ctx, 'weights', r.weightsX, r.y + r.h + font * 1.2, font * 0.94, colour.text);
    const bound = yOf(r, set.bound, top);
    if (bound > r.y && bound < r.y + r.h) stroke(ctx, r.x, bound, r.x + r.w, bound, colour.text, 2 * dpr, [9 * dpr, 5 * dpr]);
    const size = font * 0.94, area = r.w * r.h / (view.x1 - view.x0) / (view.y1 - view.y0) / steps() / top;  // pixels of a byte in a step
    for (let k = 0, written = 0; k < set.n && written < most.names; ++k) {
      const i = set.bySize[k];
      if (area * panel.room[i] * (set.last[i] - set.first[i] + 1) < size * size * 2) break;  // and all that follow are smaller
      if (!placed(r, top, i, at)) continue;
      const w = at.x1 - at.x0, h = at.y1 - at.y0;
      const fill = set.workspace[i] ? colour.text : set.last[i] - set.first[i] >= 4 ? colour['on-long'] : colour['on-short'];
      const short = set.workspace[i] ? 'workspace' : set.names[i].split(' .. ')[0];
      for (const label of set.workspace[i] ? [set.names[i], short, 'ws'] : [set.names[i], short]) {
        const long = label.length * size * 0.62 + 4 * dpr, x = (at.x0 + at.x1) / 2, y = (at.y0 + at.y1) / 2;
        const flat = long <= w && size * 1.1 <= h, upright = long <= h && size * 1.1 <= w;
        if (!flat && !upright) continue;
        ctx.save();
        ctx.translate(x, y);
        if (!flat) ctx.rotate(-Math.PI / 2);
        if (set.workspace[i]) {  // a plate under the name, because the hatching hides it
          ctx.fillStyle = colour.back;
          ctx.fillRect(-long / 2, -size * 0.6, long, size * 1.2);
        }
        write(ctx, label, 0, size * 0.36, size, fill, 'center');
        ctx.restore();
        ++written;
        break;
      }
    }
  }

  function paint() {
    const ctx = $('map').getContext('2d', { willReadFrequently: true });
    if (!image || image.width !== width || image.height !== height) {
      image = ctx.createImageData(width, height);
      pixels = new Uint32Array(image.data.buffer);
    }
    pixels.fill(colour['back#']);
    paintCurve(regions.curve);
    regions.panels.forEach(paintPanel);
    ctx.putImageData(image, 0, 0);
    drawCurve(ctx);
    for (const r of regions.panels) drawPanelText(ctx, r);
    over();
  }

  /** What follows the pointer and the keys: the step, the chosen tensor in each panel, the matches of a search. */
  function over() {
    const ctx = $('over').getContext('2d'), set = now(), at = {};
    ctx.clearRect(0, 0, width, height);
    for (const r of [regions.curve, ...regions.panels]) {
      const x0 = Math.max(r.x, xOf(r, view.step)), x1 = Math.min(r.x + r.w, Math.max(xOf(r, view.step + 1), xOf(r, view.step) + 2 * dpr));
      if (x1 <= x0) continue;
      ctx.globalAlpha = 0.2;
      ctx.fillStyle = colour.lit;
      ctx.fillRect(x0, r.y, x1 - x0, r.h);
      ctx.globalAlpha = 1;
      stroke(ctx, x0, r.y, x0, r.y + r.h, colour.lit, 2 * dpr);
      stroke(ctx, x1, r.y, x1, r.y + r.h, colour.lit, 2 * dpr);
    }
    for (const r of regions.panels) {
      const top = scaleTop(r);
      const frame = (i, style, w) => {
        if (!placed(r, top, i, at)) return;
        ctx.strokeStyle = style; ctx.lineWidth = w;
        ctx.strokeRect(at.x0 + w / 2, at.y0 + w / 2, Math.max(1, at.x1 - at.x0 - w), Math.max(1, at.y1 - at.y0 - w));
      };
      for (const i of view.matches.slice(0, most.matches)) frame(i, colour.match, 3 * dpr);
      for (const i of [view.chosen, view.hover]) {
        if (i < 0) continue;
        frame(i, colour.back, 7 * dpr);
        frame(i, colour.lit, 4 * dpr);
      }
      const x0 = Math.max(r.x, xOf(r, view.step)), x1 = Math.min(r.x + r.w, xOf(r, view.step + 1));
      view.letters.forEach((i, k) => {  // the letters of the table beside the map
        const size = font * 0.94;
        if (!placed(r, top, i, at) || at.y1 - at.y0 < size * 0.8 || x1 < x0) return;
        const x = (x0 + x1) / 2, y = (at.y0 + at.y1) / 2;
        ctx.fillStyle = colour.back;
        ctx.fillRect(x - size * 0.45, y - size * 0.5, size * 0.9, size);
        write(ctx, letter(k), x, y + size * 0.36, size, colour.text, 'center');
      });
    }
  }

  // ---- the table beside the map -------------------------------------------------------------------------------------------

  function aliveAt(s) {
    const set = now(), found = [];
    for (let i = 0; i < set.n; ++i) if (set.first[i] <= s && s <= set.last[i] && set.bytes[i] > 0) found.push(i);
    return found.sort((a, b) => set.size[b] - set.size[a] || a - b);
  }

  const letter = (k) => String.fromCharCode(65 + k);

  function cell(row, text, title) {
    const made = row.insertCell();
    made.textContent = text;
    if (title) made.title = title;
  }

  function table() {
    const set = now(), alive = aliveAt(view.step), rows = $('rows');
    const peak = view.step === set.peak;
    $('now').textContent = 'Step ' + commas(view.step + 1) + ' of ' + commas(set.steps.length) + ': ' + stepName(set, view.step);
    $('sum').textContent = mb(set.alive[view.step]) + ' MB alive in ' + alive.length + (alive.length === 1 ? ' block' : ' blocks') +
        (peak ? ': the peak, ' + commas(set.alive[view.step]) + ' bytes' : '');
    $('step').max = set.steps.length;
    $('step').value = view.step + 1;
    rows.replaceChildren();
    view.letters = alive.slice(0, 26);
    alive.slice(0, most.rows).forEach((i, k) => {
      const row = rows.insertRow();
      row.dataset.block = i;
      row.className = i === view.chosen || i === view.hover ? 'lit' : '';
      cell(row, (k < 26 ? letter(k) + '  ' : '') + set.names[i], set.details[i]);
      cell(row, mb(set.size[i]), commas(set.bytes[i]) + ' bytes');
      cell(row, set.first[i] + 1 + (set.last[i] > set.first[i] ? ' to ' + (set.last[i] + 1) : ''));
    });
    const rest = alive.slice(most.rows);
    $('more').textContent = rest.length ? 'and ' + rest.length + ' smaller, ' + mb(rest.reduce((a, i) => a + set.size[i], 0)) + ' MB' : '';
  }

  function light() {  // only the rows' marks
    for (const row of $('rows').rows) row.className = +row.dataset.block === view.chosen || +row.dataset.block === view.hover ? 'lit' : '';
  }

  // ---- what the user does -------------------------------------------------------------------------------------------------

  function goTo(step) {
    view.step = Math.max(0, Math.min(steps() - 1, step));
    const at = (view.step + 0.5) / steps(), span = view.x1 - view.x0;
    if (at < view.x0 || at > view.x1) {
      view.x0 = Math.max(0, Math.min(1 - span, at - span / 2));
      view.x1 = view.x0 + span;
      table();
      paint();
    } else {
      table();
      over();
    }
  }
  function choose(block) {
    view.chosen = block;
    if (block >= 0 && (view.step < now().first[block] || view.step > now().last[block])) goTo(now().first[block]);
    else { table(); over(); }
  }
  function zoom(factor, x, y) {
    const narrow = (low, high, at, least) => {
      const span = Math.max(least, Math.min(1, (high - low) / factor)), start = at - (at - low) / (high - low) * span;
      const from = Math.max(0, Math.min(1 - span, start));
      return [from, from + span];
    };
    [view.x0, view.x1] = narrow(view.x0, view.x1, x, Math.min(1, 2 / steps()));
    if (y !== null) [view.y0, view.y1] = narrow(view.y0, view.y1, y, 1e-4);
    paint();
  }
  function fit() { [view.x0, view.x1, view.y0, view.y1] = [0, 1, 0, 1]; paint(); }
  function press(id, on) { $(id).setAttribute('aria-pressed', on ? 'true' : 'false'); }

  function refresh() {
    $('tabs').replaceChildren(...[...now().panels.map((p) => p.key), 'all'].map((key, i, keys) => {
      const made = document.createElement('button'), last = i === keys.length - 1;
      made.type = 'button';
      made.textContent = key;
      made.dataset.panel = last ? 'all' : i;
      made.title = last ? '0' : String(i + 1);
      made.setAttribute('aria-pressed', (last ? view.all : !view.all && i === view.panel) ? 'true' : 'false');
      made.addEventListener('click', () => show(last ? -1 : i));
      return made;
    }));
    press('workspace', view.set === 0 && sets.length > 1);
    $('workspace').hidden = sets.length < 2;
    press('weights', view.weights);
    $('weights').hidden = data.weights.bytes.length === 0;
    press('scale', shared());
    press('theme', view.dark);
    readColours();
    layout();
    table();
    paint();
  }
  function show(panel) {
    if (panel >= now().panels.length) return;
    view.all = panel < 0;
    if (panel >= 0) view.panel = panel;
    refresh();
  }
  function switchSet() {
    if (sets.length < 2) return;
    const name = view.chosen >= 0 ? now().names[view.chosen] : null;
    view.set = 1 - view.set;
    view.hover = -1;
    view.chosen = name === null ? -1 : now().names.indexOf(name);
    view.panel = Math.min(view.panel, now().panels.length - 1);
    view.step = now().peak;
    search($('search').value);
    refresh();
  }
  function search(text) {
    const set = now(), wanted = text.trim().toLowerCase();
    view.matches = [];
    view.match = -1;
    for (let i = 0; wanted && i < set.n; ++i) {
      if (set.names[i].toLowerCase().includes(wanted) || set.details[i].toLowerCase().includes(wanted)) view.matches.push(i);
    }
    $('found').textContent = wanted ? view.matches.length + ' found' : '';
  }
  function nextMatch() {
    if (!view.matches.length) return;
    view.match = (view.match + 1) % view.matches.length;
    choose(view.matches[view.match]);
  }

  function point(event) {
    const box = $('map').getBoundingClientRect();
    return [(event.clientX - box.left) * dpr, (event.clientY - box.top) * dpr];
  }
  const inside = (r, x, y) => x >= r.x && x < r.x + r.w && y >= r.y && y < r.y + r.h;
  function regionAt(x, y) { return [regions.curve, ...regions.panels].find((r) => inside(r, x, y)) || null; }
  function blockAt(r, x, y) {
    if (r.panel === undefined) return -1;
    const set = now(), panel = set.panels[r.panel], s = stepAt(r, x), v = bytesAt(r, y, scaleTop(r));
    for (let i = 0; i < set.n; ++i) {
      if (set.first[i] <= s && (s <= set.last[i] || panel.kept) && panel.offset[i] <= v && v < panel.offset[i] + panel.room[i]) return i;
    }
    return -1;
  }

  let drag = null;
  const stage = $('stage');
  stage.addEventListener('pointerdown', (event) => {
    const [x, y] = point(event);
    drag = { x, y, x0: view.x0, x1: view.x1, y0: view.y0, y1: view.y1, moved: false, region: regionAt(x, y) };
  });
  stage.addEventListener('pointermove', (event) => {
    const [x, y] = point(event);
    if (drag && drag.region && Math.hypot(x - drag.x, y - drag.y) > 4 * dpr) drag.moved = true;
    if (drag && drag.moved) {
      const r = drag.region, spanX = drag.x1 - drag.x0, spanY = drag.y1 - drag.y0;
      view.x0 = Math.max(0, Math.min(1 - spanX, drag.x0 - (x - drag.x) / r.w * spanX));
      view.x1 = view.x0 + spanX;
      if (r.panel !== undefined) {
        view.y0 = Math.max(0, Math.min(1 - spanY, drag.y0 + (y - drag.y) / r.h * spanY));
        view.y1 = view.y0 + spanY;
      }
      paint();
      return;
    }
    const r = regionAt(x, y), block = r ? blockAt(r, x, y) : -1;
    if (block !== view.hover) { view.hover = block; over(); light(); }
    tip(block, x, y);
  });
  stage.addEventListener('pointerup', (event) => {
    const [x, y] = point(event), was = drag;
    drag = null;
    if (!was || was.moved || !was.region) return;
    const block = blockAt(was.region, x, y);
    view.chosen = block;
    goTo(stepAt(was.region, x));
  });
  stage.addEventListener('pointerleave', () => { drag = null; view.hover = -1; over(); light(); tip(-1); });
  stage.addEventListener('dblclick', fit);
  stage.addEventListener('wheel', (event) => {
    const [x, y] = point(event), r = regionAt(x, y);
    if (!r || event.ctrlKey) return;  // Ctrl and the wheel stay the browser's zoom
    event.preventDefault();
    const along = (x - r.x) / r.w * (view.x1 - view.x0) + view.x0, up = (r.y + r.h - y) / r.h * (view.y1 - view.y0) + view.y0;
    zoom(event.deltaY < 0 ? 1.25 : 0.8, along, r.panel === undefined || event.shiftKey ? null : up);
  }, { passive: false });

  function tip(block, x, y) {
    const box = $('tip'), set = now();
    box.hidden = block < 0;
    if (block < 0) return;
    const detail = set.details[block] && set.details[block] !== set.names[block] ? ' (' + set.details[block] + ')' : '';
    box.textContent = set.names[block] + detail + ': ' + mb(set.bytes[block]) + ' MB = ' + commas(set.bytes[block]) + ' bytes, steps ' +
        (set.first[block] + 1) + ' to ' + (set.last[block] + 1);
    const room = stage.clientWidth - box.offsetWidth - 4, at = x / dpr + 14;
    box.style.left = Math.max(0, Math.min(room, at)) + 'px';
    box.style.top = Math.max(0, Math.min(stage.clientHeight - box.offsetHeight, y / dpr + 14)) + 'px';
  }

  $('rows').addEventListener('click', (event) => {
    const row = event.target.closest('tr');
    if (row) choose(+row.dataset.block);
  });
  $('rows').addEventListener('pointerover', (event) => {
    const row = event.target.closest('tr');
    view.hover = row ? +row.dataset.block : -1;
    over();
  });
  $('rows').addEventListener('pointerleave', () => { view.hover = -1; over(); });
  $('step').addEventListener('input', () => goTo(+$('step').value - 1));
  $('search').addEventListener('input', () => { search($('search').value); nextMatch(); over(); });
  $('peak').addEventListener('click', () => goTo(now().peak));
  const act = {
    workspace: switchSet,
    weights: () => { if (data.weights.bytes.length) { view.weights = !view.weights; refresh(); } },
    scale: () => { view.shared[scaled()] = !shared(); refresh(); },
    theme: () => { view.dark = !view.dark; refresh(); },
    fit,
  };
  for (const id of Object.keys(act)) $(id).addEventListener('click', act[id]);
  const keys = {
    ArrowLeft: () => goTo(view.step - 1), ArrowRight: () => goTo(view.step + 1), Home: () => goTo(0), End: () => goTo(steps() - 1),
    PageUp: () => goTo(view.step - 10), PageDown: () => goTo(view.step + 10),
    p: () => goTo(now().peak), w: act.workspace, g: act.weights, s: act.scale, d: act.theme, f: fit, n: nextMatch,
    '+': () => zoom(1.25, (view.step + 0.5) / steps(), null), '=': () => zoom(1.25, (view.step + 0.5) / steps(), null),
    '-': () => zoom(0.8, (view.step + 0.5) / steps(), null), '0': () => show(-1),
    '/': () => $('search').focus(), Escape: () => choose(-1),
  };
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.id === 'search') {
      if (event.key === 'Enter') nextMatch();
      if (event.key === 'Escape') stage.focus();
      return;
    }
    if (event.target.id === 'step' && event.key.startsWith('Arrow')) return;  // the slider moves itself
    if (/^[1-9]$/.test(event.key)) show(+event.key - 1);
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });

  // ---- around the map -----------------------------------------------------------------------------------------------------

  function legend() {
    const entries = [['short', 'a tensor, read soon after'], ['long', 'a tensor that lives 5 steps or more'], ['hatch', 'workspace: scratch of one step'],
      ['kept', 'kept, not read any more'], ['empty', 'reserved, empty'], ['lit', 'chosen']];
    for (const [name, words] of entries) {
      const item = document.createElement('span'), mark = document.createElement('i');
      mark.style.background = name === 'hatch' ? 'repeating-linear-gradient(45deg, var(--hatch) 0 2px, var(--back) 2px 6px)' : 'var(--' + name + ')';
      item.append(mark, words);
      $('legend').append(item);
    }
    const bound = document.createElement('span');
    bound.textContent = '- - - the lower bound';
    $('legend').append(bound);
  }

  function sessionBar() {
    const total = data.session.reduce((sum, part) => sum + part.bytes, 0);
    $('session').hidden = total === 0;
    const bar = document.createElement('div'), words = document.createElement('p');
    words.append('Session, ' + mb(total) + ' MB:');
    for (const part of data.session) {
      const piece = document.createElement('i'), mark = document.createElement('i'), colours = { weights: '--weight', arena: '--short', statistics: '--match' };
      piece.style.flex = part.bytes + ' 1 0';
      for (const made of [piece, mark]) made.style.background = 'var(' + (colours[part.name] || '--soft') + ')';
      const item = document.createElement('span');
      item.append(mark, part.name + ' ' + mb(part.bytes));
      item.title = commas(part.bytes) + ' bytes';
      if (part.bytes > 0) bar.append(piece);
      words.append(item);
    }
    $('session').append(bar, words);
  }

  function svg(name, attributes, text) {
    const made = document.createElementNS('http://www.w3.org/2000/svg', name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  /** A line plot: one line with a marker of its own for each series, so that it can be read in grey. */
  function plot(sweep) {
    const w = 640, h = 360, l = 64, r = 190, t = 34, b = 46;
    const figure = document.createElement('figure');
    const made = svg('svg', { viewBox: '0 0 ' + w + ' ' + h, role: 'img', 'aria-label': sweep.title });
    const top = Math.max(1, ...sweep.rows.flatMap((row) => row.bytes)) * 1.05, right = Math.max(...sweep.rows.map((row) => row.x));
    const x = (v) => l + v / right * (w - l - r), y = (v) => h - b - v / top * (h - t - b);
    const grey = { stroke: 'var(--line)', 'stroke-width': 1 };
    made.append(svg('text', { x: 4, y: 20, 'font-weight': 'bold' }, sweep.title));
    const each = tick(top / 1e6) * 1e6;
    for (let v = 0; v <= top; v += each) {
      made.append(svg('line', { x1: l, x2: w - r, y1: y(v), y2: y(v), ...grey }));
      made.append(svg('text', { x: l - 6, y: y(v) + 5, 'text-anchor': 'end' }, +(v / 1e6).toPrecision(4) + ''));
    }
    let last = -99;
    for (const row of sweep.rows) {
      if (x(row.x) - last < 34) continue;
      last = x(row.x);
      made.append(svg('text', { x: last, y: h - b + 20, 'text-anchor': 'middle' }, row.x));
    }
    made.append(svg('text', { x: (l + w - r) / 2, y: h - 6, 'text-anchor': 'middle' }, sweep.x_label));
    const colours = ['var(--long)', 'var(--lit)', 'var(--match)', 'var(--soft)', 'var(--weight)'];
    const marks = ['M-5-5h10v10h-10z', 'M0-6L6 5H-6z', 'M0-6L6 0L0 6L-6 0z', 'M-5-5L5 5M5-5L-5 5', 'M0-6V6M-6 0H6'];
    sweep.series.forEach((name, k) => {
      const points = sweep.rows.map((row) => [x(row.x), y(row.bytes[k])]), stroked = { stroke: colours[k % 5], 'stroke-width': 2.5 };
      made.append(svg('polyline', { points: points.map((p) => p.join(',')).join(' '), fill: 'none', ...stroked }));
      for (const [px, py] of points) made.append(svg('path', { d: marks[k % 5], transform: 'translate(' + px + ' ' + py + ')', fill: colours[k % 5], ...stroked }));
      made.append(svg('path', { d: marks[k % 5], transform: 'translate(' + (w - r + 18) + ' ' + (t + 14 + 26 * k) + ')', fill: colours[k % 5], ...stroked }));
      made.append(svg('text', { x: w - r + 32, y: t + 19 + 26 * k }, name));
    });
    figure.append(made);
    const note = document.createElement('figcaption');
    note.textContent = sweep.note;
    figure.append(note);
    return figure;
  }

  legend();
  sessionBar();
  $('sweeps').append(...data.sweeps.map(plot));
  const ask = window.matchMedia ? window.matchMedia('(prefers-color-scheme: dark)') : null;
  view.dark = Boolean(ask && ask.matches);
  if (ask) ask.addEventListener('change', () => { view.dark = ask.matches; refresh(); });
  let before = null;
  window.addEventListener('beforeprint', () => { before = view.dark; view.dark = false; refresh(); });
  window.addEventListener('afterprint', () => { view.dark = before; refresh(); });
  new ResizeObserver(() => { layout(); paint(); }).observe(stage);
  view.step = now().peak;
  refresh();
  // For tests: what is shown, and a frame's work.
  window.elek = { view, sets, regions: () => regions, paint, over, goTo, size: () => ({ width, height, dpr, font }) };
})();
