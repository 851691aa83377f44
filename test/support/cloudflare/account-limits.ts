/** Every limit of Cloudflare's that the stand-in enforces, in one place, with where it is written. */
export const LIMITS = {
  /** Cron Triggers of an account on Free. https://developers.cloudflare.com/workers/platform/limits/#cron-triggers */
  cronTriggers: 5,
  /** Workers of an account on Free, variables and secrets of each, and bytes of one. …/workers/platform/limits/#account-plan-limits */
  workers: 100,
  variables: 64,
  variableBytes: 5_120,
  /** Databases of an account on Free. https://developers.cloudflare.com/d1/platform/limits/ */
  databases: 10,
  /** Tunnels of an account. https://developers.cloudflare.com/cloudflare-one/account-limits/#cloudflare-tunnel */
  tunnels: 1_000,
  /** Calls of the API in five minutes, by one user. https://developers.cloudflare.com/fundamentals/api/reference/limits/ */
  calls: 1_200,
  /** Routes of a zone. https://developers.cloudflare.com/workers/platform/limits/#routes-and-domains */
  routes: 1_000,
  /** Records of a Free zone made since September 2024. https://developers.cloudflare.com/dns/manage-dns-records/#limits */
  records: 200,
  /** Changes in one batch on a Free zone. https://developers.cloudflare.com/dns/manage-dns-records/how-to/batch-record-changes/ */
  recordChanges: 200,
  /** Characters of a record's comment on Free. https://developers.cloudflare.com/dns/manage-dns-records/reference/record-attributes/ */
  commentChars: 100,
  /** Domains of an Access application, service tokens of an account. https://developers.cloudflare.com/cloudflare-one/account-limits/#access */
  accessDomains: 5,
  serviceTokens: 50,
  /** Applications and reusable policies of an account. The same page. */
  accessApps: 500,
  accessPolicies: 500,
  /** Seconds of an origin's time limits. https://developers.cloudflare.com/cloudflare-one/networks/connectors/cloudflare-tunnel/configure-tunnels/origin-parameters/ */
  originSeconds: 3_600,
} as const;
