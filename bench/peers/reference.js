// The reference design of the service, stage by stage: BullMQ, sharp, minio, SQLite, Redis Pub/Sub. Run by bench/compare.py.
// Every stage opens the photo anew, as that design has it; autoOrient is added, without which portraits lie on their side.
const sharp = require('sharp');
const {
  Events, OPTIMIZE, Photos, SIZES, Storage, describe, notOptimized, refuse, requireSupported, serve, storeOptimized, storeThumbnail,
} = require('./photo_service.js');

class ValidationStage {
  async execute(buffer) {
    const image = sharp(buffer);
    requireSupported(await image.metadata());
    try {
      await image.toBuffer();
    } catch (error) {
      refuse(`FILE_CORRUPTED: ${error.message}`);
    }
  }
}

class MetadataExtractionStage {
  async execute(buffer) {
    const image = sharp(buffer);
    const header = await image.metadata();
    return describe(header, await image.stats());
  }
}

class ThumbnailGenerationStage {
  constructor(storage) {
    this.storage = storage;
  }

  async execute(buffer, job) {
    const thumbnails = [];
    for (const size of SIZES) thumbnails.push(await this.generateThumbnail(buffer, size, job));
    return thumbnails;
  }

  async generateThumbnail(buffer, { name, side, quality }, job) {
    const made = await sharp(buffer)
      .autoOrient()
      .resize(side, side, { fit: 'inside', withoutEnlargement: true, kernel: sharp.kernel.lanczos3 })
      .jpeg({ quality, progressive: true, mozjpeg: true })
      .toBuffer({ resolveWithObject: true });
    return storeThumbnail(this.storage, job, name, made);
  }
}

class OptimizationStage {
  constructor(storage) {
    this.storage = storage;
  }

  async execute(buffer, job) {
    if (buffer.length <= OPTIMIZE.threshold) return notOptimized(buffer.length);
    const optimized = await sharp(buffer)
      .autoOrient()
      .jpeg({
        quality: OPTIMIZE.quality, progressive: true, mozjpeg: true,
        optimizeCoding: true, trellisQuantisation: true, overshootDeringing: true,
      })
      .toBuffer();
    return storeOptimized(this.storage, job, buffer.length, optimized);
  }
}

const storage = new Storage(), photos = new Photos(), events = new Events();
const validation = new ValidationStage(), extraction = new MetadataExtractionStage();
const generation = new ThumbnailGenerationStage(storage), optimizer = new OptimizationStage(storage);

serve({ photos, events }, async (job) => {
  const buffer = await storage.fetch(job.data.s3Key);
  await events.progress(job, 25);
  await validation.execute(buffer);
  await events.progress(job, 35);
  const metadata = await extraction.execute(buffer);
  await events.progress(job, 45);
  const thumbnails = await generation.execute(buffer, job);
  await events.progress(job, 75);
  const optimization = await optimizer.execute(buffer, job);
  await events.progress(job, 90);
  return { metadata, thumbnails, optimization };
});
