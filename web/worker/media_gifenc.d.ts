/** The part of gifenc 1.0.3 that is used; it comes without types. */
declare module "gifenc" {
  interface FrameOptions {
    palette: number[][];
    /** milliseconds */
    delay: number;
    transparent: boolean;
    transparentIndex: number;
    dispose: number;
    repeat: number;
    first: boolean;
  }
  interface Encoder {
    writeHeader(): void;
    writeFrame(indices: Uint8Array, width: number, height: number, options: FrameOptions): void;
    finish(): void;
    bytes(): Uint8Array<ArrayBuffer>;
    reset(): void;
  }
  export function GIFEncoder(options: { auto: boolean }): Encoder;
  export function quantize(rgba: Uint8ClampedArray<ArrayBuffer>, colours: number, options: { format: "rgb444" }): number[][];
}
