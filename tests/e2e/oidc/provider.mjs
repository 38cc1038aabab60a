// node provider.mjs PORT MODULES: an OAuth provider on 127.0.0.1 with device flow, PKCE, introspection, revocation and
// rotating refresh tokens. Its development pages take any login; LIFE is the life of access tokens in seconds.
import http from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [port, modules] = process.argv.slice(2);
const { Provider } = await import(pathToFileURL(createRequire(modules + "/").resolve("oidc-provider")).href);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "collector",
      token_endpoint_auth_method: "none",
      application_type: "native",
      response_types: ["code"],
      redirect_uris: ["http://127.0.0.1/cb", "http://127.0.0.1/"],
      grant_types: ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    },
    { client_id: "imap", client_secret: "imapsecret", grant_types: [], redirect_uris: [], response_types: [] },
  ],
  features: {
    deviceFlow: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    devInteractions: { enabled: true },
  },
  scopes: ["openid", "offline_access", "mail"],
  cookies: { keys: ["test"] },
  pkce: { required: () => true },
  issueRefreshToken: async (_ctx, client, code) => client.grantTypeAllowed("refresh_token") && code.scopes.has("offline_access"),
  rotateRefreshToken: true,
  ttl: { AccessToken: Number(process.env.LIFE || 600), DeviceCode: Number(process.env.CODE_LIFE || 120), RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
});
for (const name of ["server_error", "grant.error", "introspection.error", "authorization.error", "revocation.error"])
  provider.on(name, (_ctx, error) => console.error(name, error.message, error.error_description));
let down = false;
const callback = provider.callback();
http
  .createServer((request, response) => {
    if (request.url === "/test/down" || request.url === "/test/up") {
      down = request.url.endsWith("down");
      response.end("ok");
    } else if (down && request.url === "/token") {
      response.statusCode = 503;
      response.end("not now");
    } else callback(request, response);
  })
  .listen(Number(port), "127.0.0.1", () => console.log("ready"));
