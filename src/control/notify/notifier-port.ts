/** What others ask of the notifier. */
export interface NotifierPort {
  /** Something may be to be told: it looks within a moment. `changed`: of who is told, too. */
  poke(what?: { readonly changed: boolean }): Promise<void>;
}
