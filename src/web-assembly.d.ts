/** What runoff uses of the global that Node has; the DOM's types, which declare it, are not loaded here. */
declare namespace WebAssembly {
  interface Memory {
    readonly buffer: ArrayBuffer;
  }
  interface SharedMemory {
    readonly buffer: SharedArrayBuffer;
  }
  interface Module {
    readonly [Symbol.toStringTag]: string;
  }
  interface Instance {
    readonly exports: Readonly<Record<string, unknown>>;
  }
  type Imports = Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  const Memory: {
    new (descriptor: { readonly initial: number; readonly maximum: number; readonly shared: true }): SharedMemory;
    new (descriptor: { readonly initial: number }): Memory;
  };
  const Module: new (bytes: Uint8Array) => Module;
  const Instance: new (module: Module, imports?: Imports) => Instance;
  function instantiate(bytes: Uint8Array, imports: Imports): Promise<{ readonly instance: Instance }>;
}
