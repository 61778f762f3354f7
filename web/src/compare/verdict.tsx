// SPDX-License-Identifier: Apache-2.0
import { TimeCells } from "../bar";
import { CAUSES, type Side } from "../data";
import { count, range, seconds, sentence, shown, signedSeconds } from "../format";
import { Legend, Sentences } from "../parts";
import { Scroll } from "../scroll";
import { type Chosen, Direction } from "./values";

interface Props {
  chosen: Chosen;
  choosePlatform: (index: number) => void;
  chooseOther: (index: number) => void;
}

export function WhatChanged({ chosen, choosePlatform, chooseOther }: Props) {
  const { page, comparison, changes, platform, other } = chosen;
  const { times } = changes;
  const inside = times?.per_sample?.sgx_seconds ?? times?.sgx_seconds;
  return (
    <section id="what-changed" aria-labelledby="what-changed-title">
      <p class="eyebrow">sgxlens comparison</p>
      <h1>{page.title}</h1>
      <h2 id="what-changed-title" class="visually-hidden">
        What changed?
      </h2>
      <div class="hero" aria-live="polite">
        {inside !== undefined && (
          <p class="figure">
            <strong>{shown(signedSeconds(inside.difference.likely))}</strong>
            <span>
              {shown(range(inside.difference, signedSeconds))}
              {times?.per_sample != null && ", for each sample"}
            </span>
          </p>
        )}
        <div class="verdict">
          <p>{sentence(page.verdicts[platform]?.[other] ?? "")}</p>
        </div>
      </div>
      {comparison.warnings.length > 0 && <Sentences items={comparison.warnings} />}
      <Recordings chosen={chosen} chooseOther={chooseOther} />
      {times !== null && page.compare.comparisons.length > 1 && (
        <Platforms chosen={chosen} choosePlatform={choosePlatform} />
      )}
      {page.compare.left_out.map((one) => (
        <p key={one.platform} class="none">
          {one.platform} is left out: {one.reason}
        </p>
      ))}
    </section>
  );
}

function Recordings({ chosen, chooseOther }: { chosen: Chosen; chooseOther: (index: number) => void }) {
  const { page, comparison, other } = chosen;
  const { sides, changes, deployment } = comparison;
  const predicted = sides.flatMap((one) => (one.prediction === null ? [] : [one.prediction.steady]));
  const most = Math.max(...predicted.map((one) => one.sgx_seconds.high));
  const used = CAUSES.filter((cause) =>
    predicted.some((one) => one.causes.some((row) => row.cause === cause && row.added_seconds.likely > 0)),
  );
  const legend = [
    ["k-native", "natively"] as const,
    ...used.map((cause) => [`k-${cause}`, page.titles.causes[cause]] as const),
  ];
  return (
    <table class="platforms" id="recordings">
      <caption>
        {deployment === null
          ? "The recordings"
          : `One inference of each recording, on ${deployment.platform_title} in ${deployment.runtime_title}. The thin line on a bar is the range.`}
        {deployment !== null && <Legend items={legend} />}
      </caption>
      <thead>
        <tr>
          <th scope="col">recording</th>
          {deployment !== null && (
            <>
              <th scope="col" class="wide">
                what the time consists of
              </th>
              <th scope="col" class="number">
                inside
              </th>
              <th scope="col" class="number">
                slower
              </th>
            </>
          )}
        </tr>
      </thead>
      <tbody>
        {sides.map((one, index) => {
          const steady = one.prediction?.steady;
          return (
            <tr key={index} aria-current={index === other + 1 ? "true" : undefined}>
              <th scope="row">
                <label>
                  {changes.length > 1 && (
                    <input
                      type="radio"
                      name="other-row"
                      disabled={index === 0}
                      checked={index === other + 1}
                      onChange={() => chooseOther(index - 1)}
                    />
                  )}
                  <span>
                    <strong>{one.label}</strong> {one.recording}
                    <small>{described(one)}</small>
                  </span>
                </label>
              </th>
              {steady !== undefined && (
                <TimeCells steady={steady} titles={page.titles.causes} most_seconds={most} />
              )}
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function described(side: Side): string {
  const words = [side.target, `phase ${side.phase} (${side.phase_name})`];
  if (side.batch_size !== null) words.push(`batch of ${count(side.batch_size)}`);
  if (side.prediction !== null) {
    const { threads } = side.prediction.deployment;
    words.push(`natively ${seconds(side.prediction.steady.native.median_seconds)}, ${threads} thread${threads === 1 ? "" : "s"}`);
  }
  return sentence(words.join("; "));
}

function Platforms({ chosen, choosePlatform }: { chosen: Chosen; choosePlatform: (index: number) => void }) {
  const { page, platform, other, baseline, side } = chosen;
  return (
    <Scroll label="By platform">
      <table class="by-platform" id="platforms">
        <caption>
          <span>
            One inference inside, by platform: {side.label} against {baseline.label}
          </span>
        </caption>
        <thead>
          <tr>
            <th scope="col">platform</th>
            <th scope="col" class="number">
              {baseline.label}
            </th>
            <th scope="col" class="number">
              {side.label}
            </th>
            <th scope="col" class="number">
              difference
            </th>
            <th scope="col">certain</th>
          </tr>
        </thead>
        <tbody>
          {page.compare.comparisons.map((one, index) => {
            const change = one.changes[other]?.times?.sgx_seconds;
            if (change === undefined) return null;
            return (
              <tr key={index} aria-current={index === platform ? "true" : undefined}>
                <th scope="row">
                  <label>
                    <input
                      type="radio"
                      name="platform-row"
                      checked={index === platform}
                      onChange={() => choosePlatform(index)}
                    />
                    <span>{one.deployment?.platform}</span>
                  </label>
                </th>
                <td class="number" data-value={change.before.likely}>
                  {shown(seconds(change.before.likely))}
                </td>
                <td class="number" data-value={change.after.likely}>
                  {shown(seconds(change.after.likely))}
                </td>
                <td class="number" data-value={change.difference.likely}>
                  {shown(signedSeconds(change.difference.likely))}
                  <small>{shown(range(change.difference, signedSeconds))}</small>
                </td>
                <td>
                  <Direction page={page} change={change} />
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Scroll>
  );
}
