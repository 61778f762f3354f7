# SPDX-License-Identifier: Apache-2.0
"""Searches for changes that make a model fast inside an enclave, and writes what can be deployed.

It is not called ``optimize`` since `sgxlens.optimize` is the function.
"""
