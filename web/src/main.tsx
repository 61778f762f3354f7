// SPDX-License-Identifier: Apache-2.0
import { render } from "preact";
import { App } from "./app";
import { readReport } from "./data";
import "./style.css";

const root = document.getElementById("report");
if (root !== null) void readReport().then((report) => render(<App report={report} />, root));
