/** The look of the page, and the little that needs a script. Colors have a contrast of at least 4.5 on their background. */

/** Colors of the page and of its pictures, light and dark. */
export const COLORS = {
  light: `--text:#1b1f24;--faint:#57606a;--page:#fff;--box:#f6f8fa;--line:#d0d7de;--accent:#0a58ca;--good:#116329;--bad:#a40e26;
--s1:#0a58ca;--s2:#b3420a;--s3:#116329;--s4:#8250df;--s5:#9a2a6b;--s6:#4d5560;
--u1:#e3eefc;--u2:#c6ddf9;--u3:#a3c8f5;--u4:#7db0f0;--d1:#fdeee2;--d2:#fbd9bd;--d3:#f7bf8f;--d4:#f2a561;--heat:#5b9bf0;--wrong:#f09a5b`,
  dark: `--text:#e6edf3;--faint:#a3adb8;--page:#0d1117;--box:#161b22;--line:#3d444d;--accent:#6cb0ff;--good:#4cc865;--bad:#ff8e86;
--s1:#6cb0ff;--s2:#f0964f;--s3:#4cc865;--s4:#c09bff;--s5:#f57fc2;--s6:#a3adb8;
--u1:#10233c;--u2:#14335c;--u3:#1a447c;--u4:#20559b;--d1:#30200f;--d2:#4c2f12;--d3:#693e13;--d4:#854d12;--heat:#1c5fb0;--wrong:#9a5416`,
};

export const STYLE = `
:root{color-scheme:light dark;${COLORS.light}}
@media (prefers-color-scheme:dark){:root{${COLORS.dark}}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem}
body{margin:0 auto;max-width:70rem;padding:1rem clamp(.75rem,3vw,2rem);background:var(--page);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.3rem;margin:0 0 .75rem;padding-top:.25rem}
h3{font-size:1.02rem;margin:1.25rem 0 .5rem}
a{color:var(--accent)}
a:focus-visible,summary:focus-visible,.wide:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
.skip{position:absolute;left:-9999px}.skip:focus{position:static}
.about{margin:.15rem 0;color:var(--faint)}
nav ul{display:flex;flex-wrap:wrap;gap:.35rem .5rem;list-style:none;margin:1rem 0 0;padding:0}
nav a{display:inline-block;padding:.2rem .65rem;border:1px solid var(--line);border-radius:99px;text-decoration:none;font-size:.9rem}
nav a:hover{background:var(--box)}
main>section{margin-top:2rem;border-top:1px solid var(--line);padding-top:1rem}
.note{margin:.5rem 0;max-width:75ch}.note.bad{border-left:4px solid var(--bad);padding-left:.75rem}.note.good{border-left:4px solid var(--good);padding-left:.75rem}
.more{margin:.35rem 0;color:var(--faint);font-size:.9rem}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(9.5rem,1fr));gap:.75rem;margin:0 0 1rem}
.figures>div{background:var(--box);border:1px solid var(--line);border-radius:.6rem;padding:.6rem .8rem}
.figures dt{color:var(--faint);font-size:.85rem}.figures dd{margin:0}.figures .value{font-size:1.5rem;font-weight:650;font-variant-numeric:tabular-nums}
.figures .interval,.figures .why{font-size:.82rem;color:var(--faint);font-variant-numeric:tabular-nums}
.wide{overflow-x:auto;max-width:100%;margin:.5rem 0;overflow-wrap:normal}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
caption{text-align:left;max-width:min(75ch,calc(100vw - 2rem));color:var(--faint);padding-bottom:.3rem;font-size:.9rem}
th,td{padding:.28rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top;max-width:min(30rem,62vw);overflow-wrap:break-word}
td{min-width:3.2rem}
thead th{color:var(--faint);font-weight:600;white-space:nowrap}tbody th{font-weight:500}
.n{text-align:right}td.n{white-space:nowrap}td.n.why{white-space:normal;min-width:9rem}
td.good,th.good{color:var(--good);font-weight:600}td.bad,th.bad{color:var(--bad);font-weight:600}
.bar{background:linear-gradient(to right,color-mix(in srgb,var(--heat) 35%,transparent) calc(var(--share)*100%),transparent 0)}
.matrix td{text-align:center;min-width:3.5rem;border:1px solid var(--page)}
.matrix .hit{background:color-mix(in srgb,var(--heat) calc(var(--share)*75%),var(--box))}
.matrix .miss{background:color-mix(in srgb,var(--wrong) calc(var(--share)*85%),var(--box))}
.matrix td a{color:var(--text);display:block;margin:-.28rem -.7rem;padding:.28rem .7rem}
.matrix thead th{max-width:9rem;white-space:normal;text-align:center}.matrix thead th:first-child{text-align:left}.matrix .total{color:var(--faint)}
figure{margin:1rem 0}figcaption{font-weight:600;margin-bottom:.25rem}
.picture svg{display:block;width:100%;max-width:34rem;height:auto}.picture img{display:block;max-width:none;height:auto}
.picture text{font-size:12px}
details{margin:.35rem 0}summary{cursor:pointer;color:var(--accent);font-size:.9rem}
.examples:target{outline:2px solid var(--accent);outline-offset:.4rem;border-radius:.3rem}
.example{border:1px solid var(--line);border-radius:.6rem;padding:.6rem .8rem;margin:.6rem 0;break-inside:avoid}
.example dl{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;margin:0;font-size:.85rem}.example dl div{display:flex;gap:.35rem}
.example dt{color:var(--faint)}.example dd{margin:0;font-weight:600}
.text{margin:.4rem 0;white-space:pre-wrap;line-height:1.65}.field{color:var(--faint);font-size:.85rem}
.terms{margin:.2rem 0;font-size:.85rem;color:var(--faint)}
mark{color:var(--text);background:none;border-radius:.2rem;padding:.08rem 0;border-bottom:2px solid transparent}
${[1, 2, 3, 4].map((n) => `.u${n}{background:var(--u${n})}.d${n}{background:var(--d${n})}`).join('')}
.u3,.u4{border-bottom-color:var(--s1)}.d3,.d4{border-bottom:2px dashed var(--s2)}
footer{margin-top:3rem;color:var(--faint);font-size:.85rem}
@media (max-width:40rem){body{font-size:15px}.picture text{font-size:13px}th,td{padding:.25rem .45rem}.matrix td a{margin:-.25rem -.45rem;padding:.25rem .45rem}}
@media print{:root{${COLORS.light}}body{max-width:none;font-size:10.5pt}nav,.skip,summary,.back{display:none}.wide{overflow:visible}.picture img{max-width:100%}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}a{color:inherit;text-decoration:none}h2,h3,h2+.note,h3+.note,figcaption{break-after:avoid}tr{break-inside:avoid}th,td{max-width:18rem}figure,table,.figures{break-inside:avoid}}
`;

/** A link to something folded opens it; nothing is folded on paper; only what scrolls is reached with the keyboard. */
export const SCRIPT = `
(() => {
  const open = () => {
    for (let at = document.getElementById(decodeURIComponent(location.hash.slice(1))); at; at = at.parentElement) if (at.localName === 'details') at.open = true;
  };
  addEventListener('hashchange', open);
  open();
  const reach = () => {
    for (const one of document.querySelectorAll('.wide')) {
      if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
      else one.removeAttribute('tabindex');
    }
  };
  addEventListener('resize', reach);
  addEventListener('toggle', reach, true);
  reach();
  addEventListener('beforeprint', () => { for (const one of document.querySelectorAll('details')) one.open = true; });
})();
`;
