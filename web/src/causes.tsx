// SPDX-License-Identifier: Apache-2.0
import type { PageReport, Prediction } from "./data";
import { count, number, ofNative, range, seconds, share, shown } from "./format";

interface Props {
  report: PageReport;
  prediction: Prediction;
}

export function Causes({ report, prediction }: Props) {
  const { steady } = prediction;
  const added = steady.added_seconds.likely;
  const native = steady.native.median_seconds;
  return (
    <section id="why" aria-labelledby="why-title">
      <h2 id="why-title">Why</h2>
      <div class="columns">
        <table id="causes">
          <caption>What the enclave adds, by cause</caption>
          <thead>
            <tr>
              <th scope="col">cause</th>
              <th scope="col" class="number">adds</th>
              <th scope="col" class="number">range</th>
              <th scope="col" class="number">share</th>
              <th scope="col" class="number">of native time</th>
            </tr>
          </thead>
          <tbody>
            {steady.causes.map((row) => (
              <tr key={row.cause} data-row={row.cause}>
                <th scope="row">
                  <svg class="swatch" viewBox="0 0 10 10" aria-hidden="true">
                    <rect class={`fill-${row.cause}`} width={10} height={10} />
                  </svg>
                  {report.cause_titles[row.cause]}
                </th>
                <td class="number" data-value={row.added_seconds.likely}>
                  {shown(seconds(row.added_seconds.likely))}
                </td>
                <td class="number">{shown(range(row.added_seconds, seconds))}</td>
                <td class="number">{shown(share(row.added_seconds.likely, added))}</td>
                <td class="number">{shown(ofNative(row.added_seconds.likely, native))}</td>
              </tr>
            ))}
          </tbody>
          <tfoot>
            <tr>
              <th scope="row">all</th>
              <td class="number" data-value={added}>{shown(seconds(added))}</td>
              <td class="number">{shown(range(steady.added_seconds, seconds))}</td>
              <td class="number">{shown(share(added, added))}</td>
              <td class="number">{shown(ofNative(added, native))}</td>
            </tr>
          </tfoot>
        </table>
        <table id="items">
          <caption>What happens, and what it costs</caption>
          <thead>
            <tr>
              <th scope="col">what</th>
              <th scope="col" class="number">count</th>
              <th scope="col" class="number">ns each</th>
              <th scope="col" class="number">adds</th>
            </tr>
          </thead>
          <tbody>
            {steady.items.map((item, index) => (
              <tr key={index}>
                <th scope="row">{item.what}</th>
                <td class="number" data-value={item.count.likely}>
                  {shown(range(item.count, count))}
                </td>
                <td class="number">{shown(range(item.constant_ns, number))}</td>
                <td class="number" data-value={item.added_seconds.likely}>
                  {shown(seconds(item.added_seconds.likely))}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
