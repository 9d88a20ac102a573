// An OpenID provider on loopback for the tests: `oidc-provider` with people, clients and keys from a folder.
//
//   node server.mjs FOLDER PORT
//
// FOLDER/settings.json  {"clients": […], "keys": {"keys": […]}, "audience": "…", "skew_s": 0}
// FOLDER/people.json    {"ada": {"preferred_username": "ada", "groups": ["lattice"]}}, read again for every login
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

// Of Node 22; with it the provider runs on Node 20 too.
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null);

const { Provider } = await import('oidc-provider');
const [folder, port] = process.argv.slice(2);
const read = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
const settings = read('settings.json');

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: settings.clients,
  jwks: settings.keys,
  claims: {
    openid: ['sub'],
    profile: ['preferred_username', 'groups', 'account'],
    email: ['email', 'email_verified'],
  },
  // A login's name is the subject; what is said of it may change meanwhile.
  findAccount: (_, subject) => {
    const person = read('people.json')[subject];
    return person && { accountId: subject, claims: () => ({ sub: subject, ...person }) };
  },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      getResourceServerInfo: () => ({
        scope: 'scripthut:read scripthut:collect scripthut:submit scripthut:admin',
        audience: settings.audience,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 3600,
        jwt: { sign: { alg: settings.keys.keys[0].alg } },
      }),
    },
  },
  extraTokenClaims: (_, token) => ({ preferred_username: token.accountId ?? token.clientId }),
  cookies: { keys: ['only for tests'] },
  pkce: { required: () => true },
  ttl: { AccessToken: 3600, Session: 3600, Grant: 3600, Interaction: 600, IdToken: 3600 },
});
// A client's own tokens say nothing of a subject; ours are about the client.
provider.listen(Number(port), '127.0.0.1');
