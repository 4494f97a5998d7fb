/** What the application tells its user while it works. The command line and, later, the web page implement it. */
export interface Ui {
  /** Something happened that stays worth reading. */
  line(text: string): void;
  /** What is going on now; replaces the status before. Repainted at most once a second while an engine generates. */
  status(text: string): void;
  /** Takes the status away. */
  done(): void;
}
