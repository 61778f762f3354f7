// SPDX-License-Identifier: Apache-2.0
import { Legend, TimeBar } from "./bar";
import { CAUSES, type PageReport } from "./data";
import { bytes, range, ratio, seconds, shown } from "./format";

interface Props {
  report: PageReport;
  chosen: number;
  choose: (index: number) => void;
}

export function Verdict({ report, chosen, choose }: Props) {
  const predictions = report.predict?.predictions ?? [];
  const prediction = predictions[chosen];
  return (
    <section id="how-slow" aria-labelledby="how-slow-title">
      <p class="eyebrow">sgxlens report</p>
      <h1>{report.title}</h1>
      <h2 id="how-slow-title" class="visually-hidden">
        How slow?
      </h2>
      {prediction === undefined ? (
        <p class="verdict">No prediction: {report.no_prediction}</p>
      ) : (
        <>
          <div class="hero" aria-live="polite">
            <p class="figure">
              <strong>{ratio(prediction.steady.slowdown.likely)}&times;</strong>
              <span>{range(prediction.steady.slowdown, ratio)}</span>
            </p>
            <p class="verdict">{report.verdicts[chosen]}</p>
          </div>
          <Platforms report={report} chosen={chosen} choose={choose} />
        </>
      )}
    </section>
  );
}

function Platforms({ report, chosen, choose }: Props) {
  const predictions = report.predict?.predictions ?? [];
  const most = Math.max(...predictions.map((one) => one.steady.sgx_seconds.high));
  const used = CAUSES.filter((cause) =>
    predictions.some((one) =>
      one.steady.causes.some((row) => row.cause === cause && row.added_seconds.likely > 0),
    ),
  );
  const titles = { native: "natively", ...report.cause_titles };
  return (
    <>
      <table class="platforms" id="platforms">
        <caption>
          {shown(`Phase ${predictions[0]?.steady.phase}`)} ({predictions[0]?.steady.name}) inside an
          enclave, by platform; the line across a bar is the range
        </caption>
        <thead>
          <tr>
            <th scope="col">platform</th>
            <th scope="col" class="number">
              EPC
            </th>
            <th scope="col" class="wide">
              <Legend kinds={["native", ...used]} titles={titles} />
              <span class="visually-hidden">what the time consists of</span>
            </th>
            <th scope="col" class="number">
              inside
            </th>
            <th scope="col" class="number">
              slower
            </th>
          </tr>
        </thead>
        <tbody>
          {predictions.map((one, index) => {
            const { deployment, steady } = one;
            return (
              <tr key={index} aria-current={index === chosen ? "true" : undefined}>
                <th scope="row">
                  <label>
                    <input
                      type="radio"
                      name="platform-row"
                      checked={index === chosen}
                      onChange={() => choose(index)}
                    />
                    <span>
                      {deployment.platform}
                      <small>
                        {deployment.platform_title}, {deployment.runtime_title}
                      </small>
                    </span>
                  </label>
                </th>
                <td class="number">{shown(bytes(deployment.epc_bytes.likely))}</td>
                <td class="wide">
                  <TimeBar steady={steady} titles={report.cause_titles} most_seconds={most} />
                </td>
                <td class="number" data-value={steady.sgx_seconds.likely}>
                  {shown(seconds(steady.sgx_seconds.likely))}
                  <small>{shown(range(steady.sgx_seconds, seconds))}</small>
                </td>
                <td class="number" data-value={steady.slowdown.likely}>
                  <strong>{ratio(steady.slowdown.likely)}&times;</strong>
                  <small>{range(steady.slowdown, ratio)}</small>
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </>
  );
}
