export function askRaw(
  port: number,
  ask: { prompt: readonly number[]; generateTokens: number; bannedTokens: readonly number[] },
): Promise<number[]>;
