// The microphone -> packets of 16-bit samples, at the rate that the browser records at.

export class Microphone {
  /** Ask for the microphone; `onPacket(ArrayBuffer)` until `stop()`, `onGone()` when it ends itself. Rejects when refused. */
  static async open(onPacket, onGone) {
    if (!navigator.mediaDevices) throw new Error("The microphone needs https, or localhost.");
    // The model was trained on voices as they are: what makes calls pleasant takes something away from them.
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio });
    for (const track of stream.getTracks()) track.onended = onGone; // unplugged, or no longer allowed
    const microphone = new Microphone(stream, new AudioContext());
    try {
      await microphone.connect(onPacket);
    } catch (error) {
      await microphone.stop();
      throw error;
    }
    return microphone;
  }

  constructor(stream, context) {
    this.stream = stream;
    this.context = context;
  }

  async connect(onPacket) {
    await this.context.audioWorklet.addModule("/page/microphone-worklet.js");
    const node = new AudioWorkletNode(this.context, "packets", { numberOfOutputs: 0, channelCount: 1 });
    node.port.onmessage = ({ data }) => onPacket(data);
    this.context.createMediaStreamSource(this.stream).connect(node);
    await this.context.resume();
  }

  /** Samples per second. */
  get rate() {
    return this.context.sampleRate;
  }

  /** Let go of the microphone. */
  stop() {
    for (const track of this.stream.getTracks()) track.stop();
    return (this.stopped ??= this.context.close());
  }
}
