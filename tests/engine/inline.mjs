// Runs a folder's compiled Pulumi program as an inline program of the Automation API, which needs no language host:
// node inline.mjs preview|up PROJECT STACK. Prints what the engine prints.
import { createRequire } from "node:module";

const [command, projectName, stackName] = process.argv.slice(2);
const require = createRequire(`${process.cwd()}/`);
const { LocalWorkspace } = require("@pulumi/pulumi/automation");
const program = require(process.cwd());
const stack = await LocalWorkspace.selectStack({ projectName, stackName, program }, { workDir: process.cwd() });
try {
    await stack[command]({ onOutput: (text) => process.stdout.write(text) });
} catch {
    process.exitCode = 1; // the engine has said why
}
