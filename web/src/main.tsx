// SPDX-License-Identifier: Apache-2.0
import { render } from "preact";
import { App } from "./app";
import { ComparisonApp } from "./compare/app";
import { readPage } from "./data";
import { openLinked } from "./links";
import "./style.css";

const root = document.getElementById("report");
if (root !== null) {
  void readPage().then((page) => {
    render(page.schema === "sgxlens-report" ? <App report={page} /> : <ComparisonApp page={page} />, root);
    openLinked();
  });
}
