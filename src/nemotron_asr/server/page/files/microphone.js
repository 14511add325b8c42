// The microphone -> packets of 16-bit samples, at the rate that the browser records at.

export class Microphone {
  /** Ask for the microphone and call `onPacket(ArrayBuffer)` until `stop()`; rejects when it may not be used. */
  static async open(onPacket) {
    if (!navigator.mediaDevices) throw new Error("The microphone needs https, or localhost.");
    // The model was trained on voices as they are: what makes calls pleasant takes something away from them.
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    const context = new AudioContext();
    await context.audioWorklet.addModule("/page/microphone-worklet.js");
    const node = new AudioWorkletNode(context, "packets", { numberOfOutputs: 0, channelCount: 1 });
    node.port.onmessage = ({ data }) => onPacket(data);
    context.createMediaStreamSource(stream).connect(node);
    await context.resume();
    return new Microphone(stream, context);
  }

  constructor(stream, context) {
    this.stream = stream;
    this.context = context;
  }

  /** Samples per second. */
  get rate() {
    return this.context.sampleRate;
  }

  /** Let go of the microphone. */
  async stop() {
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
  }
}
