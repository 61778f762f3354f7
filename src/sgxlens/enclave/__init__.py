# SPDX-License-Identifier: Apache-2.0
"""What an enclave does to a program: what happens, how often, and what it costs each time.

A platform (a processor with its memory encryption) and a runtime (Gramine, Occlum, the SDK) are
data: TOML files in which every constant has a low, a likely and a high value and a source. From a
recording the modules here count what would happen, and return `Charge`s: counts, each with the
constant that prices it.
"""
