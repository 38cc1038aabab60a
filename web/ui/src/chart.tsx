// Runs over time, as a plot and (beside it) as a table. Loaded only where it is looked at.
import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import type { Run } from './api';
import { size } from './format';
import { locale, t } from './i18n';

export function History({ runs }: { runs: Run[] }) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = place.current!;
    const sorted = [...runs].sort((a, b) => a.started - b.started);
    const draw = () => {
      element.replaceChildren();
      const style = getComputedStyle(document.documentElement);
      // The colours of the page may be light-dark(): an element knows which of the two is meant.
      const probe = document.createElement('span');
      element.append(probe);
      const colour = (name: string) => {
        probe.style.color = style.getPropertyValue(name);
        return getComputedStyle(probe).color;
      };
      const [ink, line, accent, second] = ['--soft', '--line', '--accent', '--gold'].map(colour);
      probe.remove();
      const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: '12px system-ui' };
      const day = new Intl.DateTimeFormat(locale.value, { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });
      const bars = uPlot.paths.bars!({ size: [0.5, 34], radius: 0.15 });
      new uPlot({
        width: element.clientWidth, height: 190, cursor: { show: false }, legend: { show: false },
        scales: { x: { time: false, range: [-0.6, Math.max(5, sorted.length) - 0.4] }, octets: { range: (_, __, top) => [0, top || 1] }, messages: { range: (_, __, top) => [0, top || 1] } },
        axes: [{ ...axis, values: (_, at) => at.map((one) => (sorted[one] ? day.format(sorted[one].started * 1000) : '')), space: 110, incrs: [1, 2, 5, 10, 20, 50, 100] },
          { ...axis, scale: 'messages', size: 56, values: (_, at) => at.map((one) => new Intl.NumberFormat(locale.value, { notation: 'compact' }).format(one)) },
          { ...axis, scale: 'octets', side: 1, size: 72, grid: { show: false }, values: (_, at) => at.map((one) => size(one)) }],
        series: [{}, { scale: 'messages', stroke: accent, fill: accent, paths: bars, points: { show: false } },
          { scale: 'octets', stroke: second, width: 2, points: { show: true, size: 6, stroke: second, fill: second } }],
      }, [sorted.map((_, at) => at), sorted.map((run) => run.delivered ?? 0), sorted.map((run) => run.octets ?? 0)], element);
    };
    draw();
    let timer: ReturnType<typeof setTimeout>;
    let width = element.clientWidth;
    const again = () => {
      clearTimeout(timer);
      timer = setTimeout(draw, 100);
    };
    const sized = new ResizeObserver(() => { if (element.clientWidth !== width) { width = element.clientWidth; again(); } });
    sized.observe(element);
    const themed = new MutationObserver(again);
    themed.observe(document.documentElement, { attributeFilter: ['data-theme', 'lang'] });
    const dark = matchMedia('(prefers-color-scheme: dark)');
    dark.addEventListener('change', again);
    return () => {
      clearTimeout(timer);
      sized.disconnect();
      themed.disconnect();
      dark.removeEventListener('change', again);
    };
  }, [runs]);
  return (
    <figure class="history"><figcaption><span class="dot one" />{t('history.messages')} <span class="dot two" />{t('history.size')}</figcaption>
      <div ref={place} role="img" aria-label={t('history')} /></figure>
  );
}
