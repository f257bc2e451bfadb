/** A shader's text; the build puts it in. */
declare module "*.wgsl" {
  const code: string;
  export default code;
}
