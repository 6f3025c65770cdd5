// SPDX-License-Identifier: Apache-2.0
'use strict';
// Runs in the page under test; see page_check.py. Everything is driven by events, as a user's hand or keyboard makes them.
window.addEventListener('load', () => {
  const checks = [], frames = {};
  const check = (name, ok, got) => checks.push([name, Boolean(ok), ok ? null : JSON.stringify(got)]);
  const same = (name, got, want) => check(name, JSON.stringify(got) === JSON.stringify(want), { got, want });
  const $ = (id) => document.getElementById(id);
  const { view, sets, regions, paint, goTo } = window.elek;
  const key = (name, target) => (target || document.body).dispatchEvent(new KeyboardEvent('keydown', { key: name, bubbles: true, cancelable: true }));
  const pointer = (type, x, y) => {
    const box = $('map').getBoundingClientRect(), { dpr } = window.elek.size();
    $('stage').dispatchEvent(new PointerEvent(type, { clientX: box.left + x / dpr, clientY: box.top + y / dpr, bubbles: true }));
  };
  const click = (x, y) => { pointer('pointerdown', x, y); pointer('pointerup', x, y); };
  const names = () => [...$('rows').rows].map((row) => row.cells[0].textContent.replace(/^[A-Z] {2}/, ''));
  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const colour = (name) => rgb(getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim());
  const pixel = (id, x, y) => [...$(id).getContext('2d').getImageData(Math.round(x), Math.round(y), 1, 1).data].slice(0, 3);
  const near = (a, b) => a.every((v, i) => Math.abs(v - b[i]) <= 2);
  /** WCAG's contrast of two colours. */
  const contrast = (a, b) => {
    const light = (c) => c.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const [high, low] = [light(a), light(b)].sort((p, q) => q - p);
    return (high + 0.05) / (low + 0.05);
  };
  /** The middle of a block in a panel, from the data and the axes alone. */
  const middle = (region, i) => {
    const set = sets[view.set], panel = set.panels[region.panel];
    const own = Math.max(panel.reserved, set.bound), all = Math.max(set.bound, ...set.panels.map((p) => p.reserved));
    const top = (view.shared[view.all ? 'all' : 'one'] ? all : own) * 1.03;
    return { x: region.x + (set.first[i] + set.last[i] + 1) / 2 / set.steps.length * region.w,
             y: region.y + region.h * (1 - (panel.offset[i] + panel.room[i] / 2) / top) };
  };

  if (expected.what === 'many') {
    const timed = (name, work) => {
      frames[name] = [];
      for (let k = 0; k < 41; ++k) {
        const start = performance.now();
        work(k);
        frames[name].push(performance.now() - start);
      }
    };
    for (const [name, panel] of [['pool', 0], ['naive', 1]]) {
      key(String(panel + 1));
      same('the panel of ' + name, [view.all, view.panel], [false, panel]);
      timed(name + ', whole map', () => paint());
      timed(name + ', zoom', (k) => { view.x0 = 0.3; view.x1 = 0.3 + 0.5 / (k + 1); paint(); });
      view.x0 = 0; view.x1 = 1;
      timed(name + ', step', (k) => goTo(1000 * k + 500));
      timed(name + ', pointer', (k) => pointer('pointermove', 200 + 10 * k, 400));
    }
    same('50,000 blocks', sets[0].n > 49000, true);
  } else {
    // Layout: a room reads it from the last row, so no text is smaller than 15 px, and nothing needs scrolling.
    const box = (id) => $(id).getBoundingClientRect();
    same('the window', [innerWidth, innerHeight > 600], [1280, true]);
    check('no scrolling sideways', document.documentElement.scrollWidth <= innerWidth, document.documentElement.scrollWidth);
    for (const id of ['title', 'tabs', 'stage', 'step', 'search', 'now', 'rows']) {
      const b = box(id);
      check(id + ' is in the window', b.left >= 0 && b.right <= innerWidth && b.top >= 0 && b.top < innerHeight && b.width > 0, b);
    }
    check('slider in the window', box('step').bottom <= innerHeight, box('step'));
    check('the map has most of the window', box('stage').width * box('stage').height > 0.4 * innerWidth * innerHeight, box('stage'));
    const small = [...document.body.querySelectorAll('*')].filter((e) => e.childNodes.length && !['SCRIPT', 'PRE'].includes(e.tagName) &&
        [...e.childNodes].some((c) => c.nodeType === 3 && c.data.trim()) && parseFloat(getComputedStyle(e).fontSize) < 15);
    same('text of 15 px or more', small.map((e) => e.tagName + e.id), []);
    const stage = box('stage'), aside = document.querySelector('aside').getBoundingClientRect();
    check('map and table side by side', stage.right <= aside.left, [stage.right, aside.left]);

    // Theme: as the system asks, then by the button, then for print.
    const dark = expected.what === 'dark';
    same('theme of the system', document.documentElement.dataset.theme, expected.what);
    for (let turn = 0; turn < 2; ++turn) {
      const theme = document.documentElement.dataset.theme;
      for (const [a, b] of [['text', 'back'], ['soft', 'back'], ['on-long', 'long'], ['on-short', 'short'], ['on-short', 'short2'], ['text', 'button']]) {
        check(theme + ': contrast of ' + a + ' on ' + b, contrast(colour(a), colour(b)) >= 4.5, contrast(colour(a), colour(b)));
      }
      check(theme + ': background of the map', near(pixel('map', 1, 1), colour('back')), pixel('map', 1, 1));
      $('theme').click();
    }
    same('back to the theme of the system', document.documentElement.dataset.theme, expected.what);
    window.dispatchEvent(new Event('beforeprint'));
    same('printed light', document.documentElement.dataset.theme, 'light');
    window.dispatchEvent(new Event('afterprint'));
    same('and back', view.dark, dark);

    // The numbers: every step's sum, the peak and its list.
    same('bytes alive at each step', [...sets[0].alive].slice(0, -1), expected.alive[0]);
    same('without workspace', [...sets[1].alive].slice(0, -1), expected.alive[1]);
    const peak = expected.alive[0].indexOf(expected.bounds[0]);
    same('opens at the peak', view.step, peak);
    const listed = (step) => {
      const set = sets[view.set], found = [];
      for (let i = 0; i < set.n; ++i) if (set.first[i] <= step && step <= set.last[i]) found.push(i);
      return found.sort((a, b) => set.size[b] - set.size[a] || a - b).map((i) => set.names[i]);
    };
    same('the peak lists its tensors', names(), listed(peak));
    check('step named as in profile', $('now').textContent.endsWith(': ' + sets[0].steps[peak]), $('now').textContent);
    check('no step is named after a ReLU', !sets[0].steps.some((s) => s.includes('relu')), sets[0].steps);

    // Painted: the middle of a tensor has its colour.
    key('1');
    const r = regions().panels[0], wide = [...sets[0].bySize].find((i) => !sets[0].workspace[i] && sets[0].last[i] - sets[0].first[i] >= 4);
    const m = middle(r, wide);
    check('painted at its place', near(pixel('map', m.x, m.y + r.h * 0.02), colour('long')), [pixel('map', m.x, m.y + r.h * 0.02), m]);

    // Keys.
    key('Home');
    same('Home', view.step, 0);
    key('ArrowRight');
    same('right', view.step, 1);
    same('and the table follows', names(), listed(1));
    key('ArrowLeft'); key('ArrowLeft');
    same('left stops at the first step', view.step, 0);
    key('End');
    same('End', view.step, sets[0].steps.length - 1);
    key('p');
    same('P', view.step, peak);
    key('2');
    same('2 = the second panel', [view.all, view.panel], [false, 1]);
    same('one panel is drawn', regions().panels.length, 1);
    key('0');
    same('0 = all', regions().panels.length, sets[0].panels.length);
    key('s');
    same('S = own scales', [view.shared.all, view.shared.one], [false, false]);
    key('s');

    // A click on a tensor: chosen, lit in every panel and in the table.
    const second = regions().panels[1], at = middle(second, wide);
    click(at.x, at.y);
    same('clicked', view.chosen, wide);
    check('its row is lit', [...$('rows').rows].some((row) => row.classList.contains('lit') && row.textContent.includes(sets[0].names[wide])), names());
    for (const region of regions().panels) {
      const q = middle(region, wide);
      let lit = false;
      for (let dy = -60; dy <= 60 && !lit; ++dy) lit = near(pixel('over', q.x, q.y + dy), colour('lit'));
      check('lit in panel ' + region.panel, lit, q);
    }
    pointer('pointermove', at.x, at.y);
    check('the tip names it', !$('tip').hidden && $('tip').textContent.startsWith(sets[0].names[wide]), $('tip').textContent);
    key('Escape');
    same('Escape', view.chosen, -1);
    const curve = regions().curve;
    click(curve.x + curve.w * 0.5 / sets[0].steps.length, curve.y + curve.h - 2);
    same('a click on the curve', view.step, 0);
    $('rows').rows[0].cells[0].click();
    check('a click on a row', view.chosen >= 0 && $('rows').rows[0].classList.contains('lit'), view.chosen);
    key('Escape');
    $('step').value = 3;
    $('step').dispatchEvent(new Event('input'));
    same('the slider', view.step, 2);

    // Zoom, move, fit.
    key('1');
    const p = regions().panels[0];
    $('stage').dispatchEvent(new WheelEvent('wheel', { deltaY: -100, clientX: stage.left + p.x + p.w / 2, clientY: stage.top + p.y + p.h / 2, bubbles: true, cancelable: true }));
    check('the wheel zooms', Math.abs(view.x1 - view.x0 - 0.8) < 1e-9 && Math.abs(view.y1 - view.y0 - 0.8) < 1e-9, view);
    const from = view.x0;
    pointer('pointerdown', p.x + 200, p.y + 50); pointer('pointermove', p.x + 150, p.y + 50); pointer('pointerup', p.x + 150, p.y + 50);
    check('dragging moves', view.x0 > from, [from, view.x0]);
    key('f');
    same('F = fit', [view.x0, view.x1, view.y0, view.y1], [0, 1, 0, 1]);
    key('+');
    check('+', view.x1 - view.x0 < 1, view);
    key('-'); key('f');

    // Search.
    key('/');
    same('/ = search', document.activeElement.id, 'search');
    $('search').value = 'LAYER2.0';
    $('search').dispatchEvent(new Event('input'));
    const wanted = sets[0].names.filter((n, i) => (n + sets[0].details[i]).includes('layer2.0')).length;
    same('found', [view.matches.length, wanted > 0], [wanted, true]);
    check('goes to the first match', sets[0].first[view.chosen] <= view.step && view.step <= sets[0].last[view.chosen], view.step);
    $('search').blur();
    $('search').value = '';
    $('search').dispatchEvent(new Event('input'));

    // Switches.
    key('w');
    same('W = without workspace', [view.set, names().some((n) => n.startsWith('workspace'))], [1, false]);
    same('its peak', expected.alive[1][view.step], expected.bounds[1]);
    key('w');
    key('g');
    check('G = weights beside', regions().panels[0].weightsW > 20 && near(pixel('map', regions().panels[0].weightsX + 10, regions().panels[0].y + regions().panels[0].h * 0.5), colour('weight')) ||
        near(pixel('map', regions().panels[0].weightsX + 10, regions().panels[0].y + regions().panels[0].h * 0.5), colour('line')), regions().panels[0]);
    key('g');
    same('two plots', document.querySelectorAll('#sweeps svg').length, 2);
    same('a marker for each value and for the legend', document.querySelectorAll('#sweeps figure:first-child path').length, 3 * 4 + 4);
  }
  const made = document.createElement('pre');
  made.id = 'checks';
  made.textContent = JSON.stringify(checks.length && expected.what === 'many' ? { checks, frames } : { checks });
  document.body.append(made);
});
