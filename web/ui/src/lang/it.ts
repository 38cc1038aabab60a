import type { Words } from '../i18n'; import { en } from './en'; export const words: Words = en;
