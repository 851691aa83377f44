import { z } from "zod";

/** Secrets and registry logins in the HTTP API: names and versions, and never a value on the way out. */
const time = z.iso.datetime();

const NAME = "must be the name of a secret: letters, digits and _, such as DATABASE_URL";
const OWN = "is a variable that Sluice sets itself: pick another name";
export const secretNameSchema = z
  .string({ error: NAME })
  .regex(/^[A-Za-z_][A-Za-z0-9_]{0,99}$/, NAME)
  .refine((name) => name !== "PORT" && !name.startsWith("SLUICE_"), OWN)
  .refine((name) => name !== "__proto__", NAME);

const MAX_BYTES = 64 * 1024;
/** It becomes an environment variable, which holds no NUL and, on Linux, little more than this. */
const valueSchema = z
  .string()
  .min(1, "the value is empty")
  .refine((text) => !text.includes("\0"), "the value has a NUL character in it, which no variable can hold")
  .refine((text) => text.isWellFormed(), "the value is not valid Unicode")
  .refine((text) => new TextEncoder().encode(text).length <= MAX_BYTES, "the value is larger than 64 KiB");

export const setSecretSchema = z
  .strictObject({
    value: valueSchema,
    /** Older values are dropped: releases that were made with one get this one when they start again. */
    revokeOld: z.boolean().default(false),
  })
  .meta({ id: "SetSecret" });

export const secretSchema = z
  .object({
    name: z.string(),
    /** False: the manifest names it, and it has no value. */
    isSet: z.boolean(),
    /** Rises with each new value. */
    version: z.number().int().nullable(),
    updatedAt: time.nullable(),
    updatedBy: z.string().nullable(),
    /** Who gets it, by the manifest: `app`, `accessory db`. Empty: nobody. */
    usedBy: z.array(z.string()),
    /** Why control can't open it, in words; null: it can. */
    unreadable: z.string().nullable(),
  })
  .meta({ id: "Secret" });
export type SecretView = z.infer<typeof secretSchema>;

/** `changed` false: it had this value already, and so no new version. */
export const setSecretAnswerSchema = z
  .object({ secret: secretSchema, changed: z.boolean() })
  .meta({ id: "SetSecretAnswer" });
export type SetSecretAnswer = z.infer<typeof setSecretAnswerSchema>;

/** A secret of which somebody still runs another value than the one that is set. */
export const staleSecretSchema = z
  .object({
    name: z.string(),
    /** When the new value was set; null: it was removed. */
    setAt: time.nullable(),
    /** Ids of instances that serve, or will. */
    instances: z.array(z.string()),
    /** Ids of instances that are only kept for a rollback. */
    kept: z.array(z.string()),
    /** Names of accessories. */
    accessories: z.array(z.string()),
  })
  .meta({ id: "StaleSecret" });
export type StaleSecretView = z.infer<typeof staleSecretSchema>;

export const setRegistrySchema = z
  .strictObject({ username: z.string().min(1).max(255), password: valueSchema })
  .meta({ id: "SetRegistry" });

export const registrySchema = z
  .object({
    registry: z.string(),
    username: z.string(),
    updatedAt: time,
    updatedBy: z.string(),
    unreadable: z.string().nullable(),
  })
  .meta({ id: "Registry" });
export type RegistryView = z.infer<typeof registrySchema>;

export const resealAnswerSchema = z
  .object({
    /** Under which all is to be sealed. */
    keyId: z.string(),
    /** The one before, while control has it. */
    beforeKeyId: z.string().nullable(),
    /** Sealed anew by this call. */
    resealed: z.number().int(),
    /** Still under another key: call again until this is 0, or `resealed` is. */
    left: z.number().int(),
    /** Those that no key of control opens: only setting them again helps. */
    unreadable: z.array(
      z.object({
        kind: z.enum(["secret", "registry", "webhook"]),
        app: z.string().nullable(),
        environment: z.string().nullable(),
        name: z.string(),
        reason: z.string(),
      }),
    ),
  })
  .meta({ id: "ResealAnswer" });
export type ResealAnswer = z.infer<typeof resealAnswerSchema>;
