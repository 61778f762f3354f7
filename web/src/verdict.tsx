// SPDX-License-Identifier: Apache-2.0
import { FirstChange } from "./advice";
import { TimeCells } from "./bar";
import { CAUSES, type PageReport, type Prediction } from "./data";
import { bytes, range, ratio, seconds, sentence, shown } from "./format";
import { countCell, DataTable, Legend, Prose, Sentences } from "./parts";

interface Props {
  report: PageReport;
  chosen: number;
  choose: (index: number) => void;
}

export function Verdict({ report, chosen, choose }: Props) {
  const prediction = report.predict?.predictions[chosen];
  // A prediction repeats what the recording says of its native times, as a sentence.
  const plain = (text: string) => text.toLowerCase().replace(/\.$/, "");
  const said = new Set(prediction?.warnings.map(plain));
  const others = report.show.warnings.filter((text) => !said.has(plain(text)));
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
            <div class="verdict">
              <p>
                <Prose text={sentence(report.verdicts[chosen] ?? "")} />
              </p>
              <FirstChange report={report} chosen={chosen} />
            </div>
          </div>
          <Platforms report={report} chosen={chosen} choose={choose} />
          {prediction.warnings.length > 0 && <Sentences items={prediction.warnings} />}
          <Startup prediction={prediction} />
        </>
      )}
      {others.length > 0 && <Sentences items={others} />}
    </section>
  );
}

function Platforms({ report, chosen, choose }: Props) {
  const predictions = report.predict?.predictions ?? [];
  const first = predictions[0]?.steady;
  const most = Math.max(...predictions.map((one) => one.steady.sgx_seconds.high));
  const used = CAUSES.filter((cause) =>
    predictions.some((one) =>
      one.steady.causes.some((row) => row.cause === cause && row.added_seconds.likely > 0),
    ),
  );
  const legend = [
    ["k-native", "natively"] as const,
    ...used.map((cause) => [`k-${cause}`, report.titles.causes[cause]] as const),
  ];
  return (
    <>
      <table class="platforms" id="platforms">
        <caption>
          {shown(`Phase ${first?.phase}`)} ({first?.name}) inside an enclave, by platform. The thin
          line on a bar is the range.
          <Legend items={legend} />
        </caption>
        <thead>
          <tr>
            <th scope="col">platform</th>
            <th scope="col" class="number">
              EPC
            </th>
            <th scope="col" class="wide">
              what the time consists of
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
                <td class="number" data-value={deployment.epc_bytes.likely}>
                  {shown(bytes(deployment.epc_bytes.likely))}
                </td>
                <TimeCells steady={steady} titles={report.titles.causes} most_seconds={most} />
              </tr>
            );
          })}
        </tbody>
      </table>
      {report.predict?.left_out.map((one) => (
        <p key={one.platform} class="none">
          {one.platform} is left out: {one.reason}
        </p>
      ))}
    </>
  );
}

function Startup({ prediction }: { prediction: Prediction }) {
  const { startup } = prediction;
  const rows = [
    ...startup.items.map((item) => [
      item.what,
      countCell(item.count),
      { content: shown(seconds(item.added_seconds.likely)), value: item.added_seconds.likely },
      shown(range(item.added_seconds, seconds)),
    ]),
    ...(startup.phases.length === 0
      ? []
      : [
          [
            startup.phases.join(", "),
            shown(`natively ${seconds(startup.native_seconds)}`),
            {
              content: shown(seconds(startup.inside_seconds.likely)),
              value: startup.inside_seconds.likely,
            },
            shown(range(startup.inside_seconds, seconds)),
          ],
        ]),
  ];
  return (
    <details class="startup">
      <summary>
        Start-up, apart from that: the{" "}
        {startup.phases.length > 0 ? "first result comes" : "program starts"} after{" "}
        <strong>{shown(seconds(startup.total_seconds.likely))}</strong> (
        {shown(range(startup.total_seconds, seconds))})
        {startup.phases.length > 0 && `; natively after ${shown(seconds(startup.native_seconds))}`}
      </summary>
      <DataTable
        id="startup"
        caption="From the start of the enclave to the first result"
        headings={["what", "n:count", "n:takes", "n:range"]}
        rows={rows}
        footer={[
          "all",
          "",
          { content: shown(seconds(startup.total_seconds.likely)), value: startup.total_seconds.likely },
          shown(range(startup.total_seconds, seconds)),
        ]}
      />
      {startup.inside_items.length > 0 && (
        <DataTable
          id="startup-items"
          caption="What the enclave adds to these phases"
          headings={["what", "n:count", "n:adds"]}
          rows={startup.inside_items.map((item) => [
            item.what,
            countCell(item.count),
            shown(seconds(item.added_seconds.likely)),
          ])}
        />
      )}
      {startup.untimed_phases.length > 0 && (
        <p>Without a native time, and left out: {startup.untimed_phases.join(", ")}.</p>
      )}
    </details>
  );
}
