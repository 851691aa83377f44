// For programs of others: all names below `localhost` are this machine, which not every resolver knows.
import dns from "node:dns";
import { syncBuiltinESMExports } from "node:module";

const { lookup } = dns;
dns.lookup = (name, ...rest) => lookup(name.endsWith(".localhost") ? "127.0.0.1" : name, ...rest);
syncBuiltinESMExports();
