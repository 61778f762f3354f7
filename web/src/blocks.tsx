// SPDX-License-Identifier: Apache-2.0
// How much is used of each page and of each line.
import { type LineByteCounts, operatorNames, type PageReport } from "./data";
import { bytes, clip, count, share, shown } from "./format";
import { type Cell, DataTable, Legend } from "./parts";

const PAGE_BYTES = 4096;
const LINE_BYTES = 64;
/** Groups of blocks by how many of their 64 parts are used: lines of a page, bytes of a line. */
const GROUPS = [
  [1, 16],
  [17, 32],
  [33, 48],
  [49, 64],
] as const;
const WORST = 5;

export function BlockUse({ report }: { report: PageReport }) {
  return (
    <>
      <h3>How much of each block is used</h3>
      <p class="lead">
        The enclave loads whole pages and encrypts whole lines: what is not used of them is paid for
        all the same.
      </p>
      <Legend items={GROUPS.map(([low, high], index) => [`k-use-${index}`, `${low} to ${high} of 64 used`] as const)} />
      <PageUse report={report} />
      <LineUse report={report} />
    </>
  );
}

/** The blocks of each group, as shares of all; `counts` is by the number of parts used. */
function UseBar({ counts, total, part }: { counts: readonly number[]; total: number; part: string }) {
  const groups = GROUPS.map(([low, high]) => counts.slice(low, high + 1).reduce((sum, value) => sum + value, 0));
  const titles = groups.map((value, index) => {
    const [low, high] = GROUPS[index] ?? [0, 0];
    return `${low} to ${high} ${part}: ${share(value, total)}`;
  });
  let start = 0;
  return (
    <svg class="bar small" role="img" aria-label={titles.join(", ")} viewBox="0 0 1000 20" preserveAspectRatio="none">
      {groups.map((value, index) => {
        const width = total ? (value / total) * 1000 : 0;
        start += width;
        return (
          <rect key={index} class={`k-use-${index}`} x={start - width} width={width} y={2} height={16}>
            <title>{titles[index]}</title>
          </rect>
        );
      })}
    </svg>
  );
}

function PageUse({ report }: { report: PageReport }) {
  const spatial = report.show.spatial_use;
  if (spatial === null) return null;
  const row = (name: string, use: (typeof spatial)["total"]) => [
    name,
    { content: <UseBar counts={use.page_counts_by_line_count} total={use.page_count} part="lines" /> },
    { content: shown(bytes(use.page_count * PAGE_BYTES)), value: use.page_count },
    shown(share(use.page_count, spatial.total.page_count)),
    shown(share(use.written_page_count, use.page_count)),
    shown(share(use.line_count, use.page_count * (use.page_counts_by_line_count.length - 1))),
  ];
  return (
    <DataTable
      id="page-use"
      caption="Pages that are used, by role"
      headings={["role", "pages by lines used", "n:size", "n:share", "n:written", "n:lines used"]}
      rows={spatial.roles.map((one) => row(one.role, one.use))}
      footer={row("all", spatial.total)}
    />
  );
}

const LINE_HEADINGS = ["lines by bytes used", "n:lines", "n:bytes written", "n:bytes used"];

function lineCells(use: LineByteCounts): (Cell | string)[] {
  const all = use.line_count * LINE_BYTES;
  return [
    { content: <UseBar counts={use.line_counts_by_byte_count} total={use.line_count} part="bytes" /> },
    { content: shown(count(use.line_count)), value: use.line_count },
    shown(share(use.written_byte_count, all)),
    { content: shown(share(use.byte_count, all)), value: use.byte_count },
  ];
}

function LineUse({ report }: { report: PageReport }) {
  const lines = report.show.line_bytes;
  if (lines === null) return (
      <p class="none">
        Bytes used of each line were not recorded: <code>sgxlens record --line-use</code> does that.
      </p>
    );
  const names = operatorNames(report.show);
  const unused = (use: LineByteCounts) => use.line_count * LINE_BYTES - use.byte_count;
  const worst = [...lines.operators].sort((a, b) => unused(b.use) - unused(a.use)).slice(0, WORST);
  const followed = lines.interval_line_count > 1 ? `; one line in ${lines.interval_line_count} was followed` : "";
  return (
    <>
      <DataTable
        id="line-use"
        caption={`Lines that are used, by role${followed}`}
        headings={["role", ...LINE_HEADINGS]}
        rows={lines.roles.map((one) => [one.role, ...lineCells(one.use)])}
        footer={["all", ...lineCells(lines.total)]}
      />
      {worst.length > 0 && (
        <details>
          <summary>Operators that leave most bytes of their lines unused</summary>
          <DataTable
            id="line-use-operators"
            caption={`Lines that are used, by operator${followed}`}
            headings={["operator", ...LINE_HEADINGS]}
            rows={worst.map((one) => [
              `#${one.operator_index} ${clip(names.get(one.operator_index) ?? "")}`,
              ...lineCells(one.use),
            ])}
          />
        </details>
      )}
    </>
  );
}
