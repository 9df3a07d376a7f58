// What both Node workers of bench/compare.py have around their pictures: settings, store, table, events, the contract.
const Database = require('libsql');
const exifReader = require('exif-reader');
const Redis = require('ioredis');
const { Worker, UnrecoverableError } = require('bullmq');
const { Client } = require('minio');

const SIZES = [
  { name: 'thumb_sm', side: 150, quality: 75 },
  { name: 'thumb_md', side: 300, quality: 80 },
  { name: 'thumb_lg', side: 600, quality: 85 },
];
const OPTIMIZE = { quality: 85, threshold: 2 * 1024 * 1024, minSavingPercent: 10 };
const FORMATS = ['jpeg', 'png', 'webp', 'heif'];
const env = process.env;

const connection = () => new Redis(env.REDIS_URL, { maxRetriesPerRequest: null });

class Storage {
  constructor() {
    this.bucket = env.MINIO_BUCKET;
    this.client = new Client({
      endPoint: env.MINIO_ENDPOINT, port: Number(env.MINIO_PORT), useSSL: false,
      accessKey: env.MINIO_ACCESS_KEY, secretKey: env.MINIO_SECRET_KEY, region: 'us-east-1',
    });
  }

  async fetch(key) {
    const chunks = [];
    for await (const chunk of await this.client.getObject(this.bucket, key)) chunks.push(chunk);
    return Buffer.concat(chunks);
  }

  async put(key, data, metadata) {
    const headers = { 'Content-Type': 'image/jpeg' };
    for (const [name, value] of Object.entries(metadata)) headers[`x-amz-meta-${name}`] = String(value);
    await this.client.putObject(this.bucket, key, data, data.length, headers);
    return `http://${env.MINIO_ENDPOINT}:${env.MINIO_PORT}/${this.bucket}/${key}`;
  }
}

class Photos {
  constructor() {
    const database = new Database(env.SQLITE_PATH, { timeout: 5000 });
    database.exec('PRAGMA journal_mode = WAL');
    database.exec('PRAGMA synchronous = FULL');
    const upsert = (columns) => database.prepare(
      `INSERT INTO photos (id, ${columns.join(', ')}) VALUES (?${', ?'.repeat(columns.length)}) `
      + `ON CONFLICT (id) DO UPDATE SET ${columns.map((name) => `${name} = excluded.${name}`).join(', ')}`);
    this.database = database;
    this.beginning = upsert(['processing_status', 'processing_started_at', 'processing_completed_at', 'processing_error', 'updated_at']);
    this.completion = upsert(['processing_status', 'processing_completed_at', 'processing_error', 'width', 'height', 'processing_metadata', 'updated_at']);
    this.failure = upsert(['processing_status', 'processing_error', 'updated_at']);
  }

  begin(photoId) {
    const now = new Date().toISOString();
    this.beginning.run(photoId, 'processing', now, null, null, now);
  }

  complete(photoId, { metadata, thumbnails, optimization }) {
    const now = new Date().toISOString();
    const more = JSON.stringify({
      thumbnails, format: metadata.format, colorSpace: metadata.space, hasAlpha: metadata.hasAlpha, optimization, metadata,
    });
    this.completion.run(photoId, 'completed', now, null, metadata.width, metadata.height, more, now);
  }

  fail(photoId, error, final) {
    this.failure.run(photoId, final ? 'failed' : 'processing', error.message, new Date().toISOString());
  }
}

class Events {
  constructor() {
    this.redis = connection();
  }

  publish(job, type, more = {}, mark = '') {
    const { photoId, clientId = null, sessionId = null } = job.data;
    const attempt = type === 'completed' ? '' : `:${job.attemptsMade + 1}`;
    return this.redis.publish(`photo.processing.${type}`, JSON.stringify({
      id: `${job.id}:${type}${attempt}${mark && `:${mark}`}`,
      type: `photo.processing.${type}`,
      timestamp: new Date().toISOString(),
      data: { photoId, jobId: job.id, clientId, sessionId, ...more },
    }));
  }

  async progress(job, percent) {
    await job.updateProgress(percent);
    await this.publish(job, 'progress', { progress: percent }, String(percent));
  }
}

// A photo that no attempt can make good.
function refuse(reason) {
  throw new UnrecoverableError(reason);
}

function requireSupported({ format, width, height }) {
  if (!FORMATS.includes(format)) refuse(`UNSUPPORTED_FORMAT: ${format}`);
  if (Math.min(width, height) < 100) refuse(`IMAGE_TOO_SMALL: ${width}x${height}`);
  if (Math.max(width, height) > 10000) refuse(`IMAGE_TOO_LARGE: ${width}x${height}`);
}

function exif(block) {
  if (!block) return null;
  const { Image = {}, Photo = {}, GPSInfo = {} } = exifReader(block);
  const found = {
    make: Image.Make, model: Image.Model, lensModel: Photo.LensModel, exposureTime: Photo.ExposureTime,
    fNumber: Photo.FNumber, iso: Photo.ISOSpeedRatings, focalLength: Photo.FocalLength,
    dateTimeOriginal: Photo.DateTimeOriginal, latitude: GPSInfo.GPSLatitude, longitude: GPSInfo.GPSLongitude,
  };
  const there = Object.entries(found).filter(([, value]) => value !== undefined);
  // Cameras fill their names with blanks.
  return Object.fromEntries(there.map(([name, value]) => [name, typeof value === 'string' ? value.trim() : value]));
}

// The contract's metadata, from sharp's header and statistics.
function describe(header, stats) {
  const [red, green = red, blue = red] = stats.channels.map((channel) => channel.mean);
  return {
    format: header.format,
    width: header.autoOrient.width,
    height: header.autoOrient.height,
    space: header.space,
    channels: header.channels,
    depth: header.depth,
    density: header.density ?? null,
    hasAlpha: header.hasAlpha,
    orientation: header.orientation ?? null,
    isProgressive: header.isProgressive,
    chromaSubsampling: header.chromaSubsampling ?? null,
    dominantColor: stats.dominant,
    brightness: Number(((0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255).toFixed(4)),
    exif: exif(header.exif),
  };
}

async function storeThumbnail(storage, job, name, made) {
  const { photoId } = job.data;
  const s3Key = `thumbnails/${photoId}/${name}_${job.timestamp}.jpg`;
  const { width, height } = made.info;
  const url = await storage.put(s3Key, made.data, { size: name, width, 'photo-id': photoId });
  return { name, width, height, fileSize: made.data.length, s3Key, url };
}

async function storeOptimized(storage, job, originalSize, data) {
  const { photoId } = job.data;
  const optimizedSize = data.length, savings = originalSize - optimizedSize;
  const savingsPercent = Number(((100 * savings) / originalSize).toFixed(2));
  if (savingsPercent <= OPTIMIZE.minSavingPercent) {
    return { optimized: false, reason: 'Savings not significant', originalSize, optimizedSize, savingsPercent };
  }
  const s3Key = `photos/optimized/${photoId}_optimized.jpg`;
  const url = await storage.put(s3Key, data, {
    'original-size': originalSize, 'optimized-size': optimizedSize, savings, 'photo-id': photoId,
  });
  return { optimized: true, originalSize, optimizedSize, savings, savingsPercent, s3Key, url };
}

const notOptimized = (originalSize) => ({ optimized: false, reason: 'File already optimal size', originalSize });

// Serve the queue with `run(job)`, which returns {metadata, thumbnails, optimization}, until SIGTERM.
function serve({ photos, events }, run) {
  const worker = new Worker(env.QUEUE_NAME, async (job) => {
    const { photoId } = job.data;
    try {
      photos.begin(photoId);
      await events.progress(job, 10);
      await events.publish(job, 'started');
      const made = await run(job);
      photos.complete(photoId, made);
      await events.progress(job, 95);
      const duration = Date.now() - job.timestamp;
      await events.publish(job, 'completed', { ...made, duration });
      await events.progress(job, 100);
      return { success: true, photoId, thumbnailCount: made.thumbnails.length, ...made, durationMs: duration };
    } catch (error) {
      const willRetry = !(error instanceof UnrecoverableError) && job.attemptsMade + 1 < (job.opts.attempts ?? 1);
      photos.fail(photoId, error, !willRetry);
      await events.publish(job, 'failed', { error: { message: error.message, willRetry } });
      throw error;
    }
  }, { connection: connection(), concurrency: Number(env.WORKER_CONCURRENCY ?? 3) });
  worker.on('error', (error) => console.error(error));
  worker.on('failed', (job, error) => console.error(`job ${job?.id} failed: ${error.message}`));
  process.on('SIGTERM', async () => {
    await worker.close();
    process.exit(0);
  });
}

module.exports = {
  Events, OPTIMIZE, Photos, SIZES, Storage, describe, notOptimized, refuse, requireSupported, serve, storeOptimized, storeThumbnail,
};
