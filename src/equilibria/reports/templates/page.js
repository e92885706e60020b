const all = (q) => [...document.querySelectorAll(q)], [range] = all('#round'), [said] = all('#said');
const frames = all('.frame'), thumbs = all('.thumb');
function show(i) {
  frames.forEach((frame, k) => { frame.hidden = k !== i; });
  thumbs.forEach((thumb) => thumb.setAttribute('aria-current', Number(thumb.dataset.frame) === i));
  range.value = i;
  range.setAttribute('aria-valuetext', said.textContent = 'round ' + frames[i].dataset.round);
}
if (range) {
  range.oninput = () => show(Number(range.value));
  thumbs.forEach((thumb) => { thumb.onclick = () => show(Number(thumb.dataset.frame)); });
  range.parentElement.hidden = false;
  show(frames.length - 1);
}
