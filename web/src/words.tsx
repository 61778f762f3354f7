// SPDX-License-Identifier: Apache-2.0
// What the words of the page mean.

const WORDS = [
  ["EPC", "Enclave page cache: the protected memory that the enclaves of a machine share. Pages that do not fit are paged."],
  ["page, line", "The 4,096 bytes that the EPC is managed in, and the 64 bytes that caches and memory encryption work on."],
  ["page load", "A page is decrypted into the EPC, mostly after another was encrypted and moved out. First loads are of pages that were not used before; pages seldom used are those that the inference before did not use."],
  ["line miss", "A line is not in the last-level cache: it is read from memory and decrypted. Sequential lines are used together with their neighbours, random lines are not."],
  ["OCALL", "The enclave is left on purpose, mostly for a system call, and entered again."],
  ["AEX", "The enclave is left by an interrupt or a fault: of the timer, of a page that must be loaded, of an instruction that is illegal inside."],
  ["trap", "An instruction that is illegal inside, such as CPUID: the runtime answers it after an AEX."],
  ["reuse distance", "How many other blocks were accessed since a block was accessed last. In a memory of more blocks than that it is still there, if the least recently used leaves."],
  ["cold", "The first access to a block in the whole recording."],
  ["role", "What memory is for: weights, activations, input, output, scratch, the runtime's own, stack, code or file; else it is unclassified."],
  ["working set", "The distinct blocks that a part of the phase accesses. The footprint is that of all of it."],
  ["range", "From low to high what the constants and counts allow, with what is likely between. It is no confidence interval."],
] as const;

export function Words() {
  return (
    <details id="words">
      <summary>What the words mean</summary>
      <dl class="words">
        {WORDS.map(([word, meaning]) => (
          <div key={word}>
            <dt>{word}</dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
