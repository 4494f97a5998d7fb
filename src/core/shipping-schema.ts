/** `ShippingFacts` as a record keeps them, so that a report needs no adapter. A record is untrusted: all is bounded. */
import { z } from 'zod';
import type { ShippingFacts } from './shipping-facts.ts';

const TEXT = z.string().min(1).max(500);
const TEXTS = z.array(TEXT).max(30);

/** `source` is an address that anybody can open, or `measured` for what runoff measured itself. */
function fact<T extends z.ZodType>(value: T) {
  return z.object({
    value,
    source: z
      .string()
      .max(500)
      .regex(/^(https:\/\/\S+|measured)$/),
    date: z.string().regex(/^\d{4}-\d{2}-\d{2}$/),
  });
}

export const shippingSchema = z.object({
  installSteps: fact(TEXTS),
  license: fact(TEXT),
  platforms: fact(TEXTS),
  accelerators: fact(TEXTS),
  modelSizeLimit: fact(TEXT.nullable()),
  apiSurfaces: fact(TEXTS),
  needs: fact(z.array(z.enum(['node', 'python', 'compiler', 'service'])).max(10)),
  takesHubId: fact(z.boolean()),
});

/** What an adapter declares, checked; null where it declares nothing, or something that a record cannot keep. */
export function keptShipping(declared: ShippingFacts | undefined): z.infer<typeof shippingSchema> | null {
  const parsed = shippingSchema.safeParse(declared);
  return parsed.success ? parsed.data : null;
}
