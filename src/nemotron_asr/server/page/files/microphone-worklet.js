// Runs in the browser's audio thread: collects 40 ms and hands them over as 16-bit samples.

class Packets extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 25);
    this.start();
  }

  start() {
    this.packet = new Int16Array(this.size);
    this.filled = 0;
  }

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.packet[this.filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.filled === this.size) {
        this.port.postMessage(this.packet.buffer, [this.packet.buffer]);
        this.start();
      }
    }
    return true;
  }
}

registerProcessor("packets", Packets);
