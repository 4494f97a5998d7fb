/** The part of jstat that we use; the package ships no types. */
declare module 'jstat' {
  interface StudentT {
    cdf(x: number, degreesOfFreedom: number): number;
    inv(probability: number, degreesOfFreedom: number): number;
  }
  const jstat: { readonly jStat: { readonly studentt: StudentT } };
  export default jstat;
}
