// What the vendor's JavaScript SDK sees of an emulator, as JSON: node client.mjs MODULE BASE_URL DATABASE APPLICATION
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [module, baseUrl, databaseId, applicationId] = process.argv.slice(2);
// It has no option for another address, so a field of its own is overwritten.
const path = createRequire(import.meta.url).resolve(module);
const loaded = await import(pathToFileURL(path));
const { SquareCloudAPI } = loaded.default ?? loaded;
const client = new SquareCloudAPI(process.env.SQUARECLOUD_API_KEY);
client.api.baseUrl = baseUrl;

const seen = { version: client.api.sdkVersion };
const code = (promise) => promise.then(() => null, (error) => error.code ?? error.message);

const user = await client.user.get();
seen.plan = user.plan.name;
seen.memory = user.plan.memory.limit;
const application = user.applications.get(applicationId);
seen.application = await played(application.snapshots);
await fetch(`${baseUrl}/_emulator/clock`, { method: "POST", body: '{"advance": 10}' }); // past the user's cooldown
if (client.databases) {
  const database = await client.databases.fetch(databaseId);
  seen.type = database.type;
  seen.status = (await database.getStatus()).status;
  seen.running = (await client.databases.statusAll()).map((one) => [one.databaseId, one.running]);
  seen.database = await played(database.snapshots);
  seen.account = {};
  for (const scope of ["databases", "applications"]) {
    seen.account[scope] = (await client.user.snapshots(scope)).map((one) => one.version_id);
  }
  const [entry] = await client.user.snapshots("databases");
  seen.restored = await database.snapshots.restore(entry.name, entry.version_id);
}
process.stdout.write(JSON.stringify(seen));

async function played(snapshots) {
  const bytes = await snapshots.download(); // takes one and fetches its URL
  const refused = await code(snapshots.create());
  const listed = await snapshots.list();
  return { zip: bytes.subarray(0, 2).toString(), refused, listed: listed.map((one) => [one.size, one.key]) };
}
